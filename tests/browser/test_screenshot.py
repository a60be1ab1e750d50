"""The picture of the dashboard in the README: made anew only when asked for, by NOTELOG_SCREENSHOTS=1."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.faults.process import Server
from tests.ports import lasting_port

from .pages import Pages
from .tokens import SETTINGS, token

pytestmark = pytest.mark.asyncio(loop_scope="session")

FILE = Path(__file__).parents[2] / "docs" / "dashboard.png"

NOTES = [
    ("Compost", "Too wet. More cardboard, and turn it on Sunday.", "Per Aalto", -1),
    ("Birthday present for Ines", "She mentioned the watercolour set.", "Mara Lindqvist", 3),
    ("Questions for the landlord", "Bike room key, the cold radiator, may we paint the door?", "Noor Haddad", 0),
    ("Retro: keep the short demos", "Ten minutes each Thursday, no slides.", "Aiko Tanaka", 0),
    ("Alarm thresholds of the queue", "Warn at 2 s, page at 10 s, and let us sleep otherwise.", "Tomás Ribeiro", 4),
    ("Kitchen tap drips", "New washer, half an inch. The valve is stiff: a drop of oil first.", "Per Aalto", 1),
    ("Reading list", "The Peregrine; A Pattern Language; Small Gods (again).", "Noor Haddad", 0),
    ("Invoice 118 is overdue", "Second reminder went out on the 3rd. Call if nothing by Friday.", "Tomás Ribeiro", 2),
    ("Train to Bergen", "07:43 from platform 4, seats 21 and 22. Tickets are in the folder.", "Aiko Tanaka", 2),
    ("Garden shed", "The bench goes to the south wall. Two hooks for the ladder.", "Per Aalto", 0),
    ("Move the backups", "Copy at night, compare checksums, keep both volumes until Monday.", "Tomás Ribeiro", 5),
    ("Release 2.4: what is left", "Changelog, the upgrade note, the screenshot in the guide.", "Aiko Tanaka", 4),
    (
        "Sourdough for Saturday",
        "Feed the starter on Thursday night: 100 g flour, 100 g water. "
        "Bulk rise 5 h at 24 °C, shape, cold proof overnight.",
        "Mara Lindqvist",
        1,
    ),
]

CHANGES: list[tuple[str, int, dict[str, Any]]] = [
    ("Noor Haddad", 5, {"priority": 5}),
    ("Mara Lindqvist", 9, {"description": "07:43 from platform 2 (not 4), seats 21 and 22."}),
    (
        "Per Aalto",
        13,
        {
            "description": "Feed the starter on Thursday night: 120 g flour, 100 g water. "
            "Bulk rise 4 h at 26 °C, shape, cold proof overnight. Bake at 250 °C.",
        },
    ),
    ("Mara Lindqvist", 13, {"priority": 2}),
]


@pytest_asyncio.fixture(loop_scope="session")
async def service(tmp_path: Path) -> AsyncIterator[Server]:
    """A service with authentication, so that every event has a person's name."""
    async with Server(tmp_path / "data", "--port", str(lasting_port()), environment=SETTINGS) as server:
        await server.start()
        yield server


@pytest.mark.skipif(os.environ.get("NOTELOG_SCREENSHOTS") != "1", reason="pictures are made by NOTELOG_SCREENSHOTS=1")
async def test_the_picture_for_the_readme(pages: Pages) -> None:
    """Sensible notes, one of them open with its history, drawn at twice the size."""
    for title, description, author, priority in NOTES:
        pages.token = token(sub=author)
        await pages.note(title, description=description, priority=priority)
    for author, note_id, change in CHANGES:
        pages.token = token(sub=author)
        await pages.patch(note_id, **change)
    await pages.delete(1)
    dashboard = await pages.open(
        "#note/13/history", live=False, network_may_fail=True, device_scale_factor=2, reduced_motion="reduce"
    )
    await dashboard.give(token())
    await dashboard.has_head(len(NOTES) + len(CHANGES) + 1)
    await dashboard.sees(dashboard.panel.locator(".history li"))
    await dashboard.sees_state("live")
    await dashboard.page.mouse.move(0, 0)
    FILE.parent.mkdir(exist_ok=True)
    await dashboard.page.screenshot(path=FILE)
