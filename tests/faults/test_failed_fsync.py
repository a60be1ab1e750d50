"""The n-th fsync fails with EIO: nothing answered is lost, nothing unknown is called refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.sizes import count

from .follower import EventsFollower
from .load import Load
from .process import Server, ServerEnded, until
from .promises import assert_promises_kept
from .strace import FailedFsync, broken_disk, need_strace

pytestmark = pytest.mark.faults

# The first ones make the file, later ones meet writes, checkpoints, and the file begun again.
NTHS = (1, 2, 3, 5, 8, 13, 21, 34) if count("failed_fsyncs") == 8 else range(1, count("failed_fsyncs") + 1)
NOTES_NTHS = range(2, count("failed_fsyncs_notes") + 2)
STRUCK_WITHIN_S = 30.0
DECIDED_WITHIN_S = 15.0
NOT_READY_FOR_S = 3.0  # shorter is no statement: the log may be opening its file again
ANSWERS_AFTER = 30
ROUNDS = count("broken_disks")
REFUSALS = 20


@pytest.fixture(autouse=True)
def _strace() -> None:
    need_strace()


def files_of(server: Server, name: str) -> list[Path]:
    """What SQLite syncs for one database: the file, its journals, and the folder that names them."""
    return [server.data / (name + suffix) for suffix in ("", "-wal", "-journal")]


@pytest.mark.parametrize("nth", NTHS)
async def test_a_failed_fsync_of_the_log_loses_nothing_answered(server: Server, seed: int, nth: int) -> None:
    """After one failed fsync the log goes on, or says honestly that it does not; a start without the fault is good."""
    await broken_once(server, seed, FailedFsync(nth, files_of(server, "events.db"), server.data.with_name("strace")))


@pytest.mark.parametrize("nth", NOTES_NTHS)
async def test_a_failed_fsync_of_the_notes_passes(server: Server, seed: int, nth: int) -> None:
    """A projection whose commit failed tries again or is rebuilt: the log stays whole, the notes end as its fold."""
    await broken_once(server, seed, FailedFsync(nth, files_of(server, "notes.db"), server.data.with_name("strace")))


async def test_a_broken_disk_takes_no_write_until_it_is_well(server: Server, seed: int) -> None:
    """While no fsync succeeds nothing is answered ok and /readyz says so; afterwards writes go on by themselves."""
    await server.start()
    async with EventsFollower(server) as follower:
        async with Load(server, seed, clients=4) as load:
            for _ in range(ROUNDS):
                await load.answered(ANSWERS_AFTER)
                async with broken_disk(server, files_of(server, "events.db")):
                    await broken_for_a_while(server, load)
                await load.answered(ANSWERS_AFTER, DECIDED_WITHIN_S)
        await assert_promises_kept(server, load, follower)


async def test_killed_on_a_broken_disk_the_log_keeps_its_answers(server: Server, seed: int) -> None:
    """SIGKILL while no fsync succeeds: what had been answered before is there, what is unknown is told by a repeat."""
    await server.start()
    async with EventsFollower(server) as follower:
        async with Load(server, seed, clients=4) as load:
            for _ in range(ROUNDS):
                await load.answered(ANSWERS_AFTER)
                async with broken_disk(server, files_of(server, "events.db")):
                    await broken_for_a_while(server, load)
                    await server.kill()
                await server.start()
            await load.answered(1)
        await assert_promises_kept(server, load, follower)


async def broken_once(server: Server, seed: int, fault: FailedFsync) -> None:
    """Load the service through the fault, kill it, start it without, and see what was kept."""
    load = Load(server, seed, clients=4)
    async with EventsFollower(server) as follower:
        print(f"{fault.files[0].name}, fsync {fault.nth}:", await under_fault(server, load, fault))
        await server.kill()
        await server.start()
        await assert_promises_kept(server, load, follower)


async def broken_for_a_while(server: Server, load: Load) -> None:
    """Wait until the service says that it takes no writes, and see that it takes none."""
    await until(lambda: not_ready(server), DECIDED_WITHIN_S, "/readyz says that the log takes no writes")
    await load.refused(1)  # what was synced before the fault is answered by now
    ok = load.ok
    await load.refused(REFUSALS)
    assert load.ok == ok, f"{load.ok - ok} writes were answered while no fsync succeeded"


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


async def not_ready(server: Server) -> bool:
    """Whether /readyz says 503."""
    return not await server.is_ready()
