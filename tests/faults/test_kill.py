"""SIGKILL under load, again and again: what was answered is there, and followers resume."""

from __future__ import annotations

import random

import pytest

from tests.sizes import count

from .follower import EventsFollower, NotesFollower
from .load import Load
from .past import make_past
from .process import Server
from .promises import assert_promises_kept

pytestmark = pytest.mark.faults

CYCLES = count("kills")
PAST_EVENTS = count("past_events")
ANSWERS_MAX = 150  # between a start and the next kill: some kills meet the first writes, some a full pipeline


async def test_nothing_answered_is_lost_by_sigkill(server: Server, seed: int) -> None:
    """Killed under load again and again, a log with a past keeps that and what was answered, once; followers too."""
    dice = random.Random(seed)
    past = await make_past(server.data, PAST_EVENTS, dice)
    await server.start()
    async with EventsFollower(server) as events, NotesFollower(server) as notes:
        async with Load(server, seed) as load:
            for _ in range(CYCLES):
                await load.answered(dice.randint(1, ANSWERS_MAX))
                await server.kill()
                await server.start()
            await load.answered(1)
        print(f"{CYCLES} kills on {len(past)} events")
        await assert_promises_kept(server, load, events, notes, past=past)
    assert events.connections > 1  # it came back, if not always in time before the next kill


async def test_a_graceful_stop_under_load_loses_nothing(server: Server, seed: int) -> None:
    """SIGTERM with open sockets and writers under way ends within 10 s with 0, and nothing answered is lost."""
    await server.start()
    async with EventsFollower(server) as events:
        async with Load(server, seed) as load:
            for _ in range(count("graceful_stops")):
                await load.answered(100)
                assert await server.stop() == 0
                await server.start()
            await load.answered(1)
        await assert_promises_kept(server, load, events)
