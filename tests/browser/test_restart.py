"""The service dies and comes back: nothing is missing, nothing is there twice, no typing is lost."""

import asyncio
import shutil
import signal

import pytest

from tests.faults.process import Server

from .pages import Dashboard, Pages

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_after_a_kill_nothing_is_missing_and_nothing_twice(pages: Pages) -> None:
    """Killed and started again, with changes before and after: each page has every note and every event once."""
    for number in range(10):
        await pages.note(f"Before {number}")
    dashboards = [await pages.open(network_may_fail=True) for _ in range(2)]
    for round_number in range(2):
        await pages.service.kill()
        await asyncio.gather(*(dashboard.sees_state("waiting") for dashboard in dashboards))
        await pages.service.start()
        if round_number:
            await asyncio.gather(*(dashboard.hurry() for dashboard in dashboards))
        await pages.note(f"After {round_number}")
        await pages.patch(1 + round_number, title=f"Before {round_number}, edited")
        for dashboard in dashboards:
            await dashboard.has_head(12 + 2 * round_number)
    expected = [f"{name} {n}{edited}" for n in (1, 0) for name, edited in (("Before", ", edited"), ("After", ""))]
    expected += [f"Before {n}" for n in range(9, 1, -1)]
    for dashboard in dashboards:
        await dashboard.has_titles(*expected)
        await dashboard.has_positions(*range(14, 0, -1))


async def test_typing_survives_a_restart_and_is_saved_after_it(pages: Pages) -> None:
    """What is typed while the service is away stays, and is recorded once when the service is back."""
    await pages.note("A note")
    dashboard = await pages.open(network_may_fail=True)
    await dashboard.open("A note")
    await pages.service.kill()
    await dashboard.field("Title").fill("Typed while it was away")
    await dashboard.sees_state("waiting")
    await dashboard.press("Control+s")
    await dashboard.sees(dashboard.panel.get_by_text("Saving"))
    await dashboard.field("Description").fill("And more, while it is being saved")
    await pages.service.start()
    await dashboard.sees(dashboard.row("Typed while it was away"))
    assert await dashboard.field("Description").input_value() == "And more, while it is being saved"
    await dashboard.save()
    note = await pages.get("/notes/1")
    assert (note["title"], note["description"]) == ("Typed while it was away", "And more, while it is being saved")
    assert note["version"] == 3


async def test_a_connection_that_is_dead_without_a_word_is_found(pages: Pages) -> None:
    """The service stands still and no socket is closed: the page notices by itself, and goes on when it is back."""
    await pages.note("Before")
    dashboard = await pages.open(network_may_fail=True)
    await dashboard.page.clock.install()
    await dashboard.page.reload()
    await dashboard.sees_state("live")
    pages.service.send_signal(signal.SIGSTOP)
    # Longer than the service's heartbeat, then longer than the page waits for an answer.
    await dashboard.page.clock.fast_forward(27_000)
    await dashboard.page.clock.fast_forward(12_000)
    await dashboard.sees_state("waiting")
    pages.service.send_signal(signal.SIGCONT)
    await pages.note("After")
    await dashboard.has_titles("After", "Before")
    await dashboard.has_positions(2, 1)


async def test_an_answer_that_is_lost_does_not_make_the_note_twice(pages: Pages) -> None:
    """The connection is cut after the service has recorded a new note: sent again by itself, it is there once."""
    dashboard = await pages.open(network_may_fail=True)
    cut = 0

    async def cut_the_first(route: object) -> None:
        nonlocal cut
        if route.request.method == "POST" and cut < 2:  # type: ignore[attr-defined]
            cut += 1
            await route.fetch()  # type: ignore[attr-defined]
            await route.abort()  # type: ignore[attr-defined]
        else:
            await route.continue_()  # type: ignore[attr-defined]

    await dashboard.page.route("**/notes", cut_the_first)
    await dashboard.write("Only once")
    assert cut == 2
    assert [note["title"] for note in (await pages.get("/notes"))["notes"]] == ["Only once"]
    await dashboard.has_titles("Only once")


async def test_typing_survives_loading_the_page_anew(pages: Pages) -> None:
    """A draft is still in its form after a reload, a new note's and an edit's, and the list marks the edited one."""
    await pages.note("A note")
    dashboard = await pages.open()
    await dashboard.open("A note")
    await dashboard.field("Title").fill("Edited, not saved")
    await dashboard.close_panel()
    await dashboard.press("n")
    await dashboard.field("Title").fill("New, not saved")
    await dashboard.page.reload()
    await dashboard.sees(dashboard.field("Title"))
    assert await dashboard.field("Title").input_value() == "New, not saved"
    await dashboard.sees(dashboard.row("A note").locator(".row-draft"))
    await dashboard.open("A note")
    assert await dashboard.field("Title").input_value() == "Edited, not saved"


async def test_another_log_takes_the_place_of_the_old_one(pages: Pages) -> None:
    """The data folder is exchanged: the page forgets the old notes, shows the new ones, and keeps what was typed."""
    await pages.note("Of the old log")
    await pages.note("Of the old log too")
    dashboard = await pages.open(network_may_fail=True)
    await dashboard.open("Of the old log")
    await dashboard.field("Title").fill("Typed on the old log")
    await pages.service.kill()
    shutil.rmtree(pages.service.data)
    await _write_another_log(pages)
    await pages.service.start()
    await dashboard.has_titles("New 3", "New 2", "New 1")
    await dashboard.has_positions(3, 2, 1)
    await _keeps_the_typing(dashboard)
    assert (await pages.get("/notes/1"))["title"] == "New 1"


async def _write_another_log(pages: Pages) -> None:
    """Longer than the old one, before the page can see it: only the epoch tells the two apart."""
    async with Server(pages.service.data) as elsewhere:
        await elsewhere.start()
        for number in range(1, 4):
            async with elsewhere.session.post(elsewhere.url + "/notes", json={"title": f"New {number}"}) as answer:
                assert answer.status == 201


async def _keeps_the_typing(dashboard: Dashboard) -> None:
    """Saving does not write onto the new log's note of the same number: it asks first."""
    assert await dashboard.field("Title").input_value() == "Typed on the old log"
    await dashboard.press("Control+s")
    await dashboard.sees(dashboard.panel.get_by_text("This note changed while you were writing"))
    await dashboard.has_choice("Title", "Typed on the old log", "New 1")
