"""The list: long ones, sorted, filtered, searched; and what a person looks at stays where it is."""

import pytest

from .pages import Pages

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Rows that fit a tall window, and as many again beyond its edges.
ROWS_MAX = 60


async def test_ten_thousand_notes_are_a_few_rows(pages: Pages) -> None:
    """With 10,000 notes only the visible rows are in the page; each knows its place; the last one is a key away."""
    await pages.fill(10_000)
    dashboard = await pages.open(viewport={"width": 1280, "height": 900})
    await dashboard.sees(dashboard.page.get_by_text("10,000 notes", exact=True))
    assert 5 < await dashboard.rows.count() < ROWS_MAX
    first = dashboard.rows.first
    assert await first.get_attribute("aria-posinset") == "1"
    assert await first.get_attribute("aria-setsize") == "10000"
    await dashboard.press("l", "End")
    await dashboard.holds("() => document.activeElement.getAttribute('aria-posinset') === '10000'")
    assert await dashboard.rows.count() < ROWS_MAX
    await dashboard.page.locator(".viewport").evaluate("list => list.scrollTop = list.scrollHeight / 2")
    await dashboard.sees(dashboard.page.locator("note-row[aria-posinset='5001']"))
    assert await dashboard.rows.count() < ROWS_MAX
    await dashboard.page.get_by_label("Search the notes").fill("number 4321")
    await dashboard.has_titles("Note number 4321")
    assert await dashboard.page.locator("*").count() < 2_500


async def test_sorted_filtered_and_searched(pages: Pages) -> None:
    """Order, author, priority and search each do what they say, together too, and can be cleared."""
    await pages.note("Beta", created_by="Mara", priority=1, description="apples and pears")
    await pages.note("Alpha", created_by="Per", priority=5, description="pears")
    await pages.note("Gamma", created_by="Mara", priority=3, description="apples")
    dashboard = await pages.open()
    await dashboard.has_titles("Gamma", "Alpha", "Beta")
    await dashboard.page.get_by_label("Sort", exact=True).select_option("Title")
    await dashboard.has_titles("Alpha", "Beta", "Gamma")
    await dashboard.page.get_by_label("Sort", exact=True).select_option("Highest priority")
    await dashboard.has_titles("Alpha", "Gamma", "Beta")
    await dashboard.page.get_by_role("combobox", name="Author").select_option("Mara")
    await dashboard.has_titles("Gamma", "Beta")
    await dashboard.page.get_by_label("Search the notes").fill("PEAR appl")
    await dashboard.has_titles("Beta")
    await dashboard.sees(dashboard.page.get_by_text("1 of 3 notes"))
    await dashboard.page.get_by_role("button", name="Clear", exact=True).click()
    await dashboard.has_titles("Alpha", "Gamma", "Beta")
    await dashboard.page.get_by_label("Lowest priority").fill("2")
    await dashboard.page.get_by_label("Highest priority", exact=True).fill("4")
    await dashboard.has_titles("Gamma")
    await dashboard.page.get_by_label("Lowest priority").fill("100")
    await dashboard.sees(dashboard.page.get_by_text("Nothing matches"))


async def test_a_filtered_list_follows_the_changes(pages: Pages) -> None:
    """A note that comes to match appears, and one that no longer matches goes, without a reload."""
    await pages.note("Quiet", priority=0)
    await pages.note("Urgent", priority=5)
    dashboard = await pages.open()
    await dashboard.page.get_by_label("Lowest priority").fill("3")
    await dashboard.has_titles("Urgent")
    await pages.patch(1, priority=9)
    await dashboard.has_titles("Quiet", "Urgent")
    await pages.patch(2, priority=1)
    await dashboard.has_titles("Quiet")


async def test_changes_above_do_not_move_what_is_looked_at(pages: Pages) -> None:
    """Scrolled into the list, the rows stay in place while notes come in above; a button says so and leads there."""
    await pages.fill(200)
    dashboard = await pages.open(viewport={"width": 1280, "height": 700})
    await dashboard.page.locator(".viewport").evaluate("list => list.scrollTop = 2000")
    await dashboard.sees(dashboard.page.locator("note-row[aria-posinset='30']"))
    row = dashboard.page.locator("note-row[aria-posinset='33']")
    title, place = await row.locator(".row-title").inner_text(), await row.bounding_box()
    for number in range(3):
        await pages.note(f"New {number}")
    await dashboard.sees(dashboard.page.get_by_text("3 changes above"))
    assert await dashboard.row(title).bounding_box() == place
    await dashboard.page.get_by_role("button", name="3 changes above").click()
    await dashboard.sees(dashboard.row("New 2"))
    await dashboard.misses(dashboard.page.get_by_role("button", name="changes above"))


async def test_an_empty_list_leads_to_the_first_note(pages: Pages) -> None:
    """With no notes the page says so and offers to write one; the first note replaces the words."""
    dashboard = await pages.open()
    await dashboard.page.get_by_role("button", name="Write the first one").click()
    await dashboard.field("Title").fill("The first")
    await dashboard.save()
    await dashboard.has_titles("The first")
    assert not await dashboard.page.get_by_text("No notes yet").is_visible()
