"""Two people, one note: yours beside theirs, and nobody's words are lost."""

import pytest

from .pages import Dashboard, Pages

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHANGED = "This note changed while you were writing"


async def _in_conflict(pages: Pages) -> Dashboard:
    """A page in which title and description were typed, while somebody else changed description and priority."""
    await pages.note("A title", description="The first text")
    dashboard = await pages.open(network_may_fail=True)
    await dashboard.open("A title")
    await dashboard.field("Title").fill("My title")
    await dashboard.field("Description").fill("My text")
    await pages.patch(1, description="Their text", priority=7)
    await dashboard.sees(dashboard.panel.get_by_text("Somebody changed the description and priority meanwhile"))
    return dashboard


async def test_an_incoming_change_does_not_touch_a_form_being_edited(pages: Pages) -> None:
    """The list shows the other's change, the form says so and keeps every typed character and the focus."""
    dashboard = await _in_conflict(pages)
    assert await dashboard.field("Title").input_value() == "My title"
    assert await dashboard.field("Description").input_value() == "My text"
    assert await dashboard.field("Description").evaluate("field => field === document.activeElement")


async def test_a_form_without_typing_follows_the_note(pages: Pages) -> None:
    """A form in which nothing was typed shows what the note is now."""
    await pages.note("A title")
    dashboard = await pages.open()
    await dashboard.open("A title")
    await pages.patch(1, description="Their text")
    await dashboard.holds("() => document.querySelector('#field-description').value === 'Their text'")


async def test_saving_over_a_change_shows_yours_beside_theirs(pages: Pages) -> None:
    """Saving on an older version saves nothing: the fields that differ stand side by side, the likely choice made."""
    dashboard = await _in_conflict(pages)
    await dashboard.press("Control+s")
    await dashboard.sees(dashboard.panel.get_by_text(CHANGED))
    assert await dashboard.panel.locator("fieldset.choice legend").all_inner_texts() == [
        "Title",
        "Description",
        "Priority",
    ]
    chosen = await dashboard.panel.locator("input[type=radio]:checked").evaluate_all("all => all.map(one => one.value)")
    assert chosen == ["yours", "yours", "theirs"]
    await dashboard.has_choice("Title", "My title", "A title")
    await dashboard.has_choice("Description", "My text", "Their text")
    await dashboard.has_choice("Priority", "0", "7")
    assert (await pages.get("/notes/1"))["version"] == 2


async def test_the_choice_is_what_is_saved(pages: Pages) -> None:
    """The chosen fields, mine and theirs, become the next version, and the form goes on from there."""
    dashboard = await _in_conflict(pages)
    await dashboard.press("Control+s")
    await dashboard.panel.get_by_role("group", name="Description").get_by_label("Theirs").check()
    await dashboard.panel.get_by_role("button", name="Save this").click()
    await dashboard.sees(dashboard.panel.get_by_text("Saved as version 3"))
    note = await pages.get("/notes/1")
    assert (note["title"], note["description"], note["priority"]) == ("My title", "Their text", 7)


async def test_a_second_change_during_the_choice_is_shown_too(pages: Pages) -> None:
    """The note changes again while the person chooses: what was chosen stays chosen, and theirs is the newest."""
    dashboard = await _in_conflict(pages)
    await dashboard.press("Control+s")
    await dashboard.panel.get_by_role("group", name="Title").get_by_label("Theirs").check()
    await pages.patch(1, description="Their second text")
    await dashboard.has_choice("Description", "My text", "Their second text")
    assert await dashboard.panel.get_by_role("group", name="Title").get_by_label("Theirs").is_checked()
    await dashboard.panel.get_by_role("button", name="Save this").click()
    await dashboard.sees(dashboard.panel.get_by_text("Saved as version 4"))
    note = await pages.get("/notes/1")
    assert (note["title"], note["description"]) == ("A title", "My text")


async def test_a_note_deleted_meanwhile_can_be_brought_back_with_the_text(pages: Pages) -> None:
    """Somebody deletes the note under the pen: the text is kept, and saved on top of the restored note."""
    await pages.note("A title")
    dashboard = await pages.open(network_may_fail=True)
    await dashboard.open("A title")
    await dashboard.field("Title").fill("My title")
    await pages.delete(1)
    await dashboard.panel.get_by_role("button", name="Bring it back with my text").click()
    await dashboard.sees(dashboard.row("My title"))
    assert (await pages.get("/notes/1"))["version"] == 4


async def test_a_note_deleted_meanwhile_can_become_a_new_one(pages: Pages) -> None:
    """Somebody deletes the note under the pen: the text can be saved as a note of its own."""
    await pages.note("A title", description="A text")
    dashboard = await pages.open(network_may_fail=True)
    await dashboard.open("A title")
    await dashboard.field("Title").fill("My title")
    await pages.delete(1)
    await dashboard.panel.get_by_role("button", name="Save as a new note").click()
    await dashboard.sees(dashboard.row("My title"))
    note = await pages.get("/notes/2")
    assert (note["title"], note["description"]) == ("My title", "A text")
