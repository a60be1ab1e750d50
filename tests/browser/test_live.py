"""What one page does, the other shows."""

import pytest

from .pages import Pages

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_note_written_in_one_page_appears_in_the_other_on_top(pages: Pages) -> None:
    """A note that one person writes stands at the top of the other's list at once, marked as new."""
    await pages.note("There before")
    mine, theirs = await pages.open(), await pages.open()
    await mine.write("Written just now", description="With a text", author="Mara", priority="3")
    await theirs.sees(theirs.row("Written just now"))
    await theirs.has_titles("Written just now", "There before")
    text = await theirs.row("Written just now").inner_text()
    assert all(part in text for part in ("With a text", "Mara", "3"))


async def test_a_change_is_shown_and_moves_the_note_to_the_top(pages: Pages) -> None:
    """An edited note shows its new title in every page, goes to the top of the list, and is marked."""
    await pages.note("First")
    await pages.note("Second")
    mine, theirs = await pages.open(), await pages.open()
    await mine.open("First")
    await mine.field("Title").fill("First, edited")
    await mine.save()
    await theirs.sees(theirs.page.locator("note-row.changed"))
    await theirs.has_titles("First, edited", "Second")
    await mine.has_titles("First, edited", "Second")


async def test_a_deleted_note_goes_everywhere_and_comes_back_by_undo(pages: Pages) -> None:
    """Deleting takes the note out of every page; undo brings it back into every page, once."""
    await pages.note("To be deleted")
    await pages.note("To be kept")
    mine, theirs = await pages.open(), await pages.open()
    await mine.open("To be deleted")
    await mine.panel.get_by_role("button", name="Delete this note").click()
    await theirs.misses(theirs.row("To be deleted"))
    await mine.misses(mine.row("To be deleted"))
    await mine.page.get_by_role("button", name="Undo").click()
    await theirs.sees(theirs.row("To be deleted"))
    await theirs.has_titles("To be deleted", "To be kept")


async def test_a_deleted_note_is_restored_from_its_event(pages: Pages) -> None:
    """A note that is long gone is found by its event in the activity, and restored from there."""
    note = await pages.note("Gone")
    await pages.delete(note["id"])
    dashboard = await pages.open(network_may_fail=True)
    await dashboard.events.first.click()
    await dashboard.panel.get_by_role("tab", name="Note").click()
    await dashboard.panel.get_by_role("button", name="Restore it").click()
    await dashboard.sees(dashboard.row("Gone"))
    assert (await pages.get(f"/notes/{note['id']}"))["version"] == 3


async def test_the_activity_shows_every_event_as_it_happens(pages: Pages) -> None:
    """Every event is in the activity once, latest first, with who did what; the head and the chart follow."""
    await pages.note("Early", created_by="Mara")
    dashboard = await pages.open()
    note = await pages.note("Late", created_by="Per")
    await pages.patch(note["id"], priority=4)
    await pages.delete(note["id"])
    await dashboard.has_head(4)
    await dashboard.has_positions(4, 3, 2, 1)
    sentences = await dashboard.events.locator(".event-text").all_inner_texts()
    assert ["deleted" in sentences[0], "edited" in sentences[1], "wrote" in sentences[2]] == [True] * 3
    assert "priority" in sentences[1]
    label = await dashboard.page.locator("event-chart svg").get_attribute("aria-label")
    assert label is not None
    assert "Events a minute" in label


async def test_a_mistake_is_shown_at_its_field(pages: Pages) -> None:
    """What the service refuses stands below the field that is wrong, which has the focus; the text is kept."""
    dashboard = await pages.open(network_may_fail=True)
    await dashboard.page.get_by_role("button", name="New note").click()
    await dashboard.field("Description").fill("A text without a title")
    await dashboard.panel.get_by_role("button", name="Save", exact=True).click()
    await dashboard.sees(dashboard.panel.locator("#error-title"))
    assert await dashboard.field("Title").evaluate("field => field === document.activeElement")
    assert await dashboard.field("Title").get_attribute("aria-invalid") == "true"
    assert await dashboard.field("Description").input_value() == "A text without a title"
