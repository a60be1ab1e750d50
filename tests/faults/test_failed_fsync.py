"""The n-th fsync fails with EIO: nothing answered is lost, nothing unknown is called refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from .conftest import LONG
from .load import Load
from .process import Server, ServerEnded, until
from .promises import assert_promises_kept
from .strace import FailedFsync, skip_without_strace

pytestmark = pytest.mark.faults

NTHS = range(1, 51) if LONG else (1, 2, 3, 5, 8, 13, 21, 34)
NOTES_NTHS = range(1, 9) if LONG else (2,)
STRUCK_WITHIN_S = 30.0
DECIDED_WITHIN_S = 15.0
NOT_READY_FOR_S = 3.0  # shorter is no statement: the log may be opening its file again
ANSWERS_AFTER = 30


@pytest.fixture(autouse=True)
def _strace() -> None:
    skip_without_strace()


def files_of(server: Server, name: str) -> list[Path]:
    """What SQLite syncs for one database: the file, its journals, and the folder that names them."""
    return [server.data / (name + suffix) for suffix in ("", "-wal", "-journal")]


@pytest.mark.parametrize("nth", NTHS)
async def test_a_failed_fsync_of_the_log_loses_nothing_answered(server: Server, seed: int, nth: int) -> None:
    """After one failed fsync the log goes on, or says honestly that it does not; a start without the fault is good."""
    fault = FailedFsync(nth, files_of(server, "events.db"), server.data.with_name("strace"))
    load = Load(server, seed, clients=4)
    print(f"fsync {nth} of the log:", await under_fault(server, load, fault))
    await server.kill()
    await server.start()
    await assert_promises_kept(server, load)


async def test_a_log_whose_disk_stays_broken_says_so(server: Server, seed: int) -> None:
    """When every fsync fails from some point on, /readyz or the end of the process says so; nothing is lost."""
    fault = FailedFsync(12, files_of(server, "events.db"), server.data.with_name("strace"), for_ever=True)
    load = Load(server, seed, clients=4)
    assert await under_fault(server, load, fault) != "goes on"
    await server.kill()
    await server.start()
    await assert_promises_kept(server, load)


@pytest.mark.parametrize("nth", NOTES_NTHS)
async def test_a_failed_fsync_of_the_notes_passes(server: Server, seed: int, nth: int) -> None:
    """A projection whose commit failed tries again or is rebuilt: the log stays whole, the notes end as its fold."""
    fault = FailedFsync(nth, files_of(server, "notes.db"), server.data.with_name("strace"))
    load = Load(server, seed, clients=4)
    print(f"fsync {nth} of the notes:", await under_fault(server, load, fault))
    await server.kill()
    await server.start()
    await assert_promises_kept(server, load)


async def under_fault(server: Server, load: Load, fault: FailedFsync) -> str:
    """Load the service until the fault has struck and what follows is clear: how it took it, in words."""
    try:
        await server.start(fault.wrapper)
    except ServerEnded as ended:
        if ended.code == 0 or not fault.has_struck():
            raise
        return "does not start"
    async with load:
        await until(fault.has_struck, STRUCK_WITHIN_S, f"fsync {fault.nth} is reached")
        return await outcome(server, load)


async def outcome(server: Server, load: Load) -> str:
    """Wait until the log goes on, or until the process has been saying for a while that it does not."""
    goal, said, since = load.ok + ANSWERS_AFTER, "", 0.0

    async def is_decided() -> bool:
        nonlocal said, since
        now = time.monotonic()
        try:
            since = now if await server.is_ready() else since or now
        except ServerEnded as ended:
            said = f"ended with exit code {ended.code}"
            return True
        said = "goes on" if load.ok >= goal else "says that it is not ready"
        return load.ok >= goal or now - since > NOT_READY_FOR_S

    await until(is_decided, DECIDED_WITHIN_S, "the log goes on, or says that it does not")
    return said
