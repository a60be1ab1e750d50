"""No violation that axe-core finds, in every state that the page has, light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from .pages import WIDE, Dashboard, Pages

pytestmark = pytest.mark.asyncio(loop_scope="session")

# The narrowest phone that is still about, and the widest page at which nothing may have to be scrolled sideways.
PHONE = {"width": 360, "height": 740}


async def nothing(dashboard: Dashboard, pages: Pages, note_id: int) -> None:
    """The list alone."""


async def no_match(dashboard: Dashboard, pages: Pages, note_id: int) -> None:
    await dashboard.page.get_by_label("Search the notes").fill("zebra")
    await dashboard.sees(dashboard.page.get_by_text("Nothing matches"))


async def new_note(dashboard: Dashboard, pages: Pages, note_id: int) -> None:
    await dashboard.press("n")
    await dashboard.press("Control+s")
    await dashboard.sees(dashboard.page.locator("#error-title"))


async def conflict(dashboard: Dashboard, pages: Pages, note_id: int) -> None:
    await dashboard.open("First")
    await dashboard.field("Title").fill("Mine")
    await pages.patch(note_id, title="Theirs", description="Changed")
    await dashboard.sees(dashboard.panel.get_by_role("button", name="Compare"))
    await dashboard.panel.get_by_role("button", name="Compare").click()
    await dashboard.has_choice("Title", "Mine", "Theirs")


async def history(dashboard: Dashboard, pages: Pages, note_id: int) -> None:
    await dashboard.open("First")
    await dashboard.panel.get_by_role("tab", name="History").click()
    await dashboard.sees(dashboard.page.locator("note-history > *"))


async def past(dashboard: Dashboard, pages: Pages, note_id: int) -> None:
    await dashboard.press("t")
    await dashboard.sees(dashboard.page.locator("time-slider"))


async def help_(dashboard: Dashboard, pages: Pages, note_id: int) -> None:
    await dashboard.press("?")
    await dashboard.sees(dashboard.page.get_by_role("dialog", name="Keys"))


async def deleted(dashboard: Dashboard, pages: Pages, note_id: int) -> None:
    await dashboard.press("l", "Delete")
    await dashboard.sees(dashboard.page.get_by_role("button", name="Undo"))


async def offline(dashboard: Dashboard, pages: Pages, note_id: int) -> None:
    await pages.service.kill()
    await dashboard.sees(dashboard.page.get_by_text("Connection lost"))


async def activity(dashboard: Dashboard, pages: Pages, note_id: int) -> None:
    await dashboard.press("a")
    await dashboard.sees(dashboard.events)


STATES = [nothing, no_match, new_note, conflict, history, past, help_, deleted, offline, activity]


@pytest.mark.parametrize(
    ("size", "scheme", "rules"),
    [
        pytest.param(WIDE, "light", None, id="wide"),
        pytest.param(PHONE, "light", None, id="phone"),
        # In the dark only the colours differ.
        pytest.param(WIDE, "dark", ["color-contrast"], id="dark"),
    ],
)
async def test_axe_finds_nothing_in_any_state(
    pages: Pages, size: dict[str, int], scheme: str, rules: list[str] | None
) -> None:
    """Names, roles, contrast, landmarks: in each state axe-core finds no violation; nothing is wider than the page."""
    for state in STATES:
        if not pages.service.is_running():
            await pages.service.start()
        first = (await pages.note("First", description="A text", priority=3, created_by="Mara"))["id"]
        await pages.patch(first, description="A text, edited")
        context = {"viewport": size, "color_scheme": scheme, "reduced_motion": "reduce"}
        await _check(pages, state, first, rules, context)


async def _check(
    pages: Pages,
    state: Callable[[Dashboard, Pages, int], Awaitable[None]],
    note_id: int,
    rules: list[str] | None,
    context: dict[str, Any],
) -> None:
    dashboard = await pages.open(network_may_fail=True, **context)
    await state(dashboard, pages, note_id)
    assert await violations(dashboard, rules) == [], state.__name__
    width = await dashboard.page.evaluate("document.documentElement.scrollWidth")
    assert width <= context["viewport"]["width"], state.__name__
    await dashboard.page.close()
    if pages.service.is_running():
        for note in (await pages.get("/notes"))["notes"]:
            await pages.delete(note["id"])


async def violations(dashboard: Dashboard, rules: list[str] | None = None) -> list[str]:
    """What axe-core has to say against the page, shortened; by all its rules, or only these."""
    from axe_playwright_python.async_playwright import Axe

    options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
    results = await Axe().run(dashboard.page, options=options)
    return [
        f"{found['id']}: {node['html'][:200]} {node['failureSummary']}"
        for found in results.response["violations"]
        for node in found["nodes"]
    ]


async def test_changes_are_told_politely_and_not_one_by_one(pages: Pages) -> None:
    """A screen reader hears of many changes in one polite sentence; rows and events are no live regions."""
    dashboard = await pages.open()
    for number in range(30):
        await pages.note(f"Note {number}")
    voice = dashboard.page.locator("notice-board [aria-live=polite]")
    await dashboard.sees(voice.get_by_text("notes changed."))
    assert await dashboard.page.locator("note-list [aria-live], activity-panel [aria-live]").count() == 0


async def test_still_pictures_for_those_who_ask_for_them(pages: Pages) -> None:
    """With reduced motion asked for, nothing is animated; a changed row is marked without moving."""
    await pages.note("A note")
    dashboard = await pages.open(reduced_motion="reduce")
    await pages.patch(1, title="Changed")
    await dashboard.sees(dashboard.page.locator("note-row.changed"))
    assert await dashboard.page.evaluate("document.getAnimations().length") == 0
