"""The process stands still for a while, as in a suspended machine or a frozen container, and then goes on."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.sizes import count

from .follower import EventsFollower, NotesFollower
from .load import Load
from .process import Server, ServerEnded
from .promises import assert_promises_kept

pytestmark = pytest.mark.faults

STOPPED_S = count("stopped_s")


async def test_a_process_that_stood_still_goes_on(server: Server, seed: int, tmp_path: Path) -> None:
    """SIGSTOP under load, SIGCONT later: nothing answered is lost, websockets resume; nobody else got the folder."""
    await server.start()
    async with EventsFollower(server) as events, NotesFollower(server) as notes:
        async with Load(server, seed) as load:
            await load.answered(200)
            server.send_signal(signal.SIGSTOP)
            ok = load.ok
            await asyncio.gather(asyncio.sleep(STOPPED_S), a_second_process_is_refused(server, tmp_path))
            assert load.ok <= ok + load.clients, "it was not stopped"
            server.send_signal(signal.SIGCONT)
            await load.answered(200)
        print(f"stopped for {STOPPED_S} s; websockets connected {events.connections} and {notes.connections} times")
        await assert_promises_kept(server, load, events, notes)
    assert await server.stop() == 0


async def a_second_process_is_refused(server: Server, folder: Path) -> None:
    """Another `serve` on the folder ends at once with exit code 2."""
    async with Server(server.data, log=folder / "second.log") as second:
        with pytest.raises(ServerEnded) as ended:
            await second.start()
        assert ended.value.code == 2
