"""The past: a note's life as differences, the list as it was, and the way back."""

import pytest

from .pages import Dashboard, Pages

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _slide(dashboard: Dashboard, position: int) -> None:
    await (
        dashboard.page.get_by_label("The list as it was", exact=True)
        .and_(dashboard.page.locator("#time-range"))
        .fill(str(position))
    )


async def test_a_notes_history_is_shown_as_differences(pages: Pages) -> None:
    """Every version is there, latest first; what went is struck out, what came is marked, numbers as old and new."""
    await pages.note("Bread", description="100 g flour and water", priority=1)
    await pages.patch(1, description="120 g flour and water", priority=3)
    await pages.delete(1)
    await pages.post("/notes/1/restore")
    dashboard = await pages.open("#note/1/history")
    versions = dashboard.panel.locator(".history li")
    await dashboard.holds("() => document.querySelectorAll('.history li').length === 4")
    heads = await versions.locator("header strong").all_inner_texts()
    assert heads == ["Version 4", "Version 3", "Version 2", "Version 1"]
    edit = versions.nth(2)
    assert await edit.locator("del").all_text_contents() == [" removed: 100 , end. ", "1"]
    assert await edit.locator("ins").all_text_contents() == [" added: 120 , end. ", "3"]
    assert "flour and water" in await edit.inner_text()


async def test_a_history_grows_while_it_is_looked_at(pages: Pages) -> None:
    """A change that happens while the history is open appears in it."""
    await pages.note("A note")
    dashboard = await pages.open("#note/1/history")
    await dashboard.holds("() => document.querySelectorAll('.history li').length === 1")
    await pages.patch(1, title="Changed")
    await dashboard.holds("() => document.querySelectorAll('.history li').length === 2")


async def test_an_old_version_is_made_the_present_one_again(pages: Pages) -> None:
    """One button in the history makes the note what it was, as a new version."""
    await pages.note("First words")
    await pages.patch(1, title="Second words")
    dashboard = await pages.open("#note/1/history")
    await dashboard.panel.get_by_role("button", name="Make it this again").click()
    await dashboard.has_titles("First words")
    assert (await pages.get("/notes/1"))["version"] == 3


async def test_the_slider_shows_the_list_as_it_was(pages: Pages) -> None:
    """At each position the list is what it was then; changes of now do not disturb it, and are there afterwards."""
    await pages.note("First")
    await pages.note("Second")
    await pages.patch(1, title="First, edited")
    await pages.delete(2)
    dashboard = await pages.open()
    await dashboard.has_titles("First, edited")
    await dashboard.press("t")
    for position, titles in [(3, ["First, edited", "Second"]), (2, ["Second", "First"]), (1, ["First"]), (0, [])]:
        await _slide(dashboard, position)
        await dashboard.has_titles(*titles)
    await dashboard.sees(dashboard.page.get_by_text("At position 0 there was no note"))
    await _slide(dashboard, 2)
    await dashboard.has_titles("Second", "First")
    await pages.note("Third")
    await dashboard.has_head(5)
    await dashboard.has_titles("Second", "First")
    await dashboard.row("First").click()
    await dashboard.sees(dashboard.panel.get_by_text("As it was at position 2"))
    await dashboard.press("Escape")
    await dashboard.misses(dashboard.panel)
    await dashboard.press("Escape")
    await dashboard.has_titles("Third", "First, edited")


async def test_the_slider_works_by_keys_and_says_where_it_is(pages: Pages) -> None:
    """Arrow keys go from event to event, and the slider's value is read out as a position and a time."""
    for number in range(1, 4):
        await pages.note(f"Note {number}")
    dashboard = await pages.open()
    await dashboard.press("t", "ArrowLeft", "ArrowLeft")
    await dashboard.has_titles("Note 1")
    await dashboard.holds("() => /^Position 1 of 3 · ./.test(document.querySelector('#time-range').ariaValueText)")
    await dashboard.press("ArrowRight")
    await dashboard.has_titles("Note 2", "Note 1")


async def test_a_service_without_a_past_says_so(pages: Pages) -> None:
    """Where history and as_of are not served, the page says so in words, and goes on."""
    await pages.note("A note")
    dashboard = await pages.open("#note/1/history", network_may_fail=True, live=False)

    async def missing(route: object) -> None:
        await route.fulfill(status=404, json={"title": "There is nothing here", "status": 404})  # type: ignore[attr-defined]

    await dashboard.page.route("**/notes/1/history*", missing)
    await dashboard.page.route("**/notes?as_of=*", missing)
    await dashboard.page.reload()
    await dashboard.sees(dashboard.panel.get_by_text("This service keeps no history of this note."))
    await dashboard.press("Escape", "t")
    await dashboard.sees(dashboard.page.get_by_text("This service cannot show the past."))
    await dashboard.press("Escape")
    await dashboard.has_titles("A note")
