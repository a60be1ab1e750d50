"""A service with authentication: the page asks for a token, and keeps it where nothing else can find it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.process import Server
from tests.ports import lasting_port

from .pages import Pages
from .tokens import SETTINGS, token

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def service(tmp_path: Path) -> AsyncIterator[Server]:
    """A service that lets nobody in without a token."""
    async with Server(tmp_path / "data", "--port", str(lasting_port()), environment=SETTINGS) as server:
        await server.start()
        yield server


async def test_with_a_token_the_page_works_and_keeps_it_in_memory_alone(pages: Pages) -> None:
    """The page asks, works as the token's subject, and leaves the token in no storage, cookie or address."""
    dashboard = await pages.open(live=False, network_may_fail=True)
    good = token()
    await dashboard.give(good)
    await dashboard.sees_state("live")
    await dashboard.write("Written with a token")
    await dashboard.has_titles("Written with a token")
    await dashboard.sees(dashboard.events.get_by_text("mara wrote"))
    kept = await dashboard.page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
        " + document.documentElement.outerHTML"
    )
    assert good not in kept
    await dashboard.page.reload()
    await dashboard.sees(dashboard.page.get_by_role("dialog", name="A token, please"))


async def test_a_token_that_is_not_accepted_is_asked_for_again(pages: Pages) -> None:
    """A wrong token leads back to the question, which says why; a good one then works."""
    dashboard = await pages.open(live=False, network_may_fail=True)
    await dashboard.give(token(exp=1_000_000_000))
    await dashboard.sees(dashboard.page.get_by_text("does not accept the token"))
    await dashboard.give(token())
    await dashboard.sees_state("live")


async def test_without_the_scope_for_events_the_notes_still_work(pages: Pages) -> None:
    """A token without audit:read shows the notes; the activity and the history say what is missing."""
    dashboard = await pages.open(live=False, network_may_fail=True)
    await dashboard.give(token("notes:read notes:write"))
    await dashboard.sees_state("live")
    await dashboard.write("A note")
    await dashboard.has_titles("A note")
    await dashboard.sees(dashboard.page.get_by_text("Reading the events needs a token with the scope audit:read."))
    await dashboard.panel.get_by_role("tab", name="History").click()
    await dashboard.sees(dashboard.page.get_by_text("Reading the history needs the scope audit:read."))


async def test_typing_is_kept_when_the_token_does_not_allow_to_save(pages: Pages) -> None:
    """A token that may only read: saving says so, and the text stays."""
    dashboard = await pages.open(live=False, network_may_fail=True)
    await dashboard.give(token("notes:read audit:read"))
    await dashboard.sees_state("live")
    await dashboard.press("n")
    await dashboard.field("Title").fill("Typed in vain")
    await dashboard.press("Control+s")
    await dashboard.sees(dashboard.page.get_by_text(re.compile("Not saved.*notes:write")))
    assert await dashboard.field("Title").input_value() == "Typed in vain"
