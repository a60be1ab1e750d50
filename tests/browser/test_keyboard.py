"""Everything without a mouse."""

import pytest

from .pages import Dashboard, Pages

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _focused(dashboard: Dashboard) -> str:
    """What has the focus: a row's title, or else an element's name."""
    script = """() => {
      const focused = document.activeElement;
      return focused.querySelector('.row-title')?.textContent ?? focused.name ?? focused.id;
    }"""
    text: str = await dashboard.page.evaluate(script)
    return text


async def test_a_note_is_written_found_edited_deleted_and_restored_by_keys_alone(pages: Pages) -> None:
    """From the first key to the last no pointer is needed, and the focus is always somewhere sensible."""
    await pages.note("Older")
    dashboard = await pages.open()
    await dashboard.press("n")
    await dashboard.sees(dashboard.field("Title"))
    await dashboard.page.keyboard.type("Written by keys")
    await dashboard.press("Tab")
    await dashboard.page.keyboard.type("Its text, with n and t and /")
    await dashboard.press("Control+s")
    await dashboard.sees(dashboard.panel.get_by_text("Saved as version 1"))
    await dashboard.press("Escape")
    await dashboard.misses(dashboard.panel)
    await dashboard.has_titles("Written by keys", "Older")
    await dashboard.press("l", "Home")
    assert await _focused(dashboard) == "Written by keys"
    await dashboard.press("ArrowDown")
    assert await _focused(dashboard) == "Older"
    await dashboard.press("k", "Enter")
    await dashboard.holds("() => document.activeElement.id === 'field-title'")
    await dashboard.press("End")
    await dashboard.page.keyboard.type(", edited")
    await dashboard.press("Control+Enter")
    await dashboard.sees(dashboard.panel.get_by_text("Saved as version 2"))
    await dashboard.press("Escape")
    await dashboard.holds("() => document.activeElement.tagName === 'NOTE-ROW'")
    assert await _focused(dashboard) == "Written by keys, edited"
    await dashboard.press("Delete")
    await dashboard.has_titles("Older")
    await dashboard.holds("() => document.activeElement.textContent.includes('Older')")
    await dashboard.press("u")
    await dashboard.has_titles("Written by keys, edited", "Older")
    await dashboard.press("/")
    await dashboard.page.keyboard.type("older")
    await dashboard.has_titles("Older")
    await dashboard.press("Escape")
    await dashboard.has_titles("Written by keys, edited", "Older")


async def test_the_help_shows_the_keys_and_single_keys_can_be_switched_off(pages: Pages) -> None:
    """`?` opens the help; with single keys switched off there, `n` does nothing, also after a reload."""
    dashboard = await pages.open()
    await dashboard.press("?")
    help_ = dashboard.page.get_by_role("dialog", name="Keys")
    await dashboard.sees(help_)
    await help_.get_by_label("Keys of a single letter work").uncheck()
    await dashboard.press("Escape")
    await dashboard.misses(help_)
    await dashboard.page.reload()
    await dashboard.sees_state("live")
    await dashboard.press("n")
    assert not await dashboard.panel.is_visible()
    await dashboard.page.get_by_role("button", name="Help and keys").press("Enter")
    await dashboard.sees(help_)


async def test_every_place_of_the_tab_order_can_be_seen(pages: Pages) -> None:
    """Tab goes round the page in a bounded number of steps; each stop is visible and has a visible focus."""
    await pages.note("A note")
    dashboard = await pages.open("#note/1")
    await dashboard.sees(dashboard.field("Title"))
    seen = []
    for _ in range(60):
        await dashboard.press("Tab")
        stop = await dashboard.page.evaluate(
            """() => {
              const focused = document.activeElement;
              if (focused === document.body) return null;
              const [box, style] = [focused.getBoundingClientRect(), getComputedStyle(focused)];
              const around = [style, getComputedStyle(focused.closest('.side') ?? focused)];
              const marked = around.some(one => one.outlineStyle !== 'none' && parseFloat(one.outlineWidth) >= 2);
              const inside = box.width > 0 && box.right > 0 && box.bottom > 0;
              return [focused.tagName + '#' + focused.id, inside && marked];
            }"""
        )
        if stop is None:
            break
        seen.append(stop)
    assert len(seen) < 60
    assert [name for name, is_visible in seen if not is_visible] == []
    assert "NOTE-ROW#row-1" in [name for name, _ in seen]


async def test_one_row_alone_is_in_the_tab_order(pages: Pages) -> None:
    """The list is one stop; the arrow keys go on from where it was left, also after changes came in."""
    for number in range(5):
        await pages.note(f"Note {number}")
    dashboard = await pages.open()
    await dashboard.press("l", "ArrowDown", "ArrowDown")
    assert await _focused(dashboard) == "Note 2"
    await pages.note("Note 5")
    await dashboard.sees(dashboard.row("Note 5"))
    assert await _focused(dashboard) == "Note 2"
    assert await dashboard.page.locator("note-row[tabindex='0']").count() == 1
    await dashboard.press("ArrowDown")
    assert await _focused(dashboard) == "Note 1"
