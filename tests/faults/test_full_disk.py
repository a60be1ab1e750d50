"""The disk is full, and then there is room again: writes are refused meanwhile, reads go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.sizes import count

from .answers import Verdict
from .disk import fill, grow, make_room, small_disk
from .follower import EventsFollower
from .load import Load
from .process import Server, until
from .promises import assert_none, assert_promises_kept

pytestmark = pytest.mark.faults

ROUNDS = count("disk_full_rounds")
# Room for the log, the notes and their write-ahead files before the first round; small enough to fill at once.
DISK_BYTES = 32 * 1024 * 1024
TINY_DISK_BYTES = 4 * 1024 * 1024  # the service fills it alone, with its write-ahead files
# Less than what the service keeps free for its tables, so that it takes no more writes.
LEFT_BYTES = 3 * 1024 * 1024
READS = 20
REFUSALS = 5
# By themselves: with no restart, no request of an operator, nothing but time.
WRITES_AGAIN_WITHIN_S = 15.0
FILLED_WITHIN_S = 60.0


@pytest.fixture
async def on_small_disk(tmp_path: Path) -> AsyncIterator[Server]:
    """A service whose folder is on a disk of its own; its log lines are not, so that they cannot fail."""
    with small_disk(tmp_path / "disk", DISK_BYTES) as disk:
        async with Server(disk / "data", log=tmp_path / "serve.log") as server:
            yield server


async def test_a_full_disk_refuses_writes_and_keeps_reads(on_small_disk: Server, seed: int) -> None:
    """Full: writes get 503 with Retry-After, reads are answered. Room: writes go on by themselves, without a hole."""
    server, disk = on_small_disk, on_small_disk.data.parent
    failed: list[str] = []
    await server.start()
    async with EventsFollower(server) as follower:
        async with Load(server, seed) as load:
            for _ in range(ROUNDS):
                await load.answered(50)
                await fill_up(server, load, disk)
                await load.refused(REFUSALS)
                failed += await failed_reads(server, load)
                make_room(disk)
                await load.answered(50, WRITES_AGAIN_WITHIN_S)
        await assert_promises_kept(server, load, follower)
    assert_none(failed)


async def fill_up(server: Server, load: Load, disk: Path) -> None:
    """Fill the disk to the last page, but not faster than the service can use what it keeps for its tables."""
    fill(disk, LEFT_BYTES)
    await load.refused(1)
    await until(lambda: has_caught_up(server), WRITES_AGAIN_WITHIN_S, "the tables have what the log took")
    fill(disk)


async def has_caught_up(server: Server) -> bool:
    """Whether every table shows the log."""
    _, report = await server.read("/readyz")
    return all(projection["lag"] == 0 for projection in report["projections"].values())


async def failed_reads(server: Server, load: Load) -> list[str]:
    """Read the list and the latest notes; the answers that are not what a reader came for."""
    created = [request.first_ok.note_id for request in load.of(Verdict.OK) if request.kind == "create"][-READS:]
    paths = ["/notes?limit=5", *(f"/notes/{note_id}" for note_id in created)]
    answers = await asyncio.gather(*(server.read(path) for path in paths))
    return [
        f"GET {path} on a full disk: {status} {body}"
        for path, (status, body) in zip(paths, answers, strict=True)
        if status not in (200, 404)
    ]


async def test_a_disk_that_the_service_filled_itself(on_small_disk: Server, seed: int) -> None:
    """Writes fill the last of the disk themselves: the same holds, until the disk is made larger."""
    server, disk = on_small_disk, on_small_disk.data.parent
    grow(disk, TINY_DISK_BYTES)
    await server.start()
    async with Load(server, seed) as load:
        await load.refused(REFUSALS, FILLED_WITHIN_S)
        failed = await failed_reads(server, load)
        grow(disk, DISK_BYTES)
        await load.answered(50, WRITES_AGAIN_WITHIN_S)
    await assert_promises_kept(server, load)
    assert_none(failed)


async def test_a_start_on_a_full_disk_serves_reads(on_small_disk: Server, seed: int) -> None:
    """Killed and started while the disk is full, the service reads on; with room again it writes by itself."""
    server, disk = on_small_disk, on_small_disk.data.parent
    await server.start()
    async with Load(server, seed) as load:
        await load.answered(100)
        await fill_up(server, load, disk)
        await load.refused(REFUSALS)
        await server.kill()
        server.launch()
        await server.listens()
        failed = await failed_reads(server, load)
        make_room(disk)
        await until(server.is_ready, WRITES_AGAIN_WITHIN_S, "the service is ready when there is room")
        server.up.set()
        await load.answered(50, WRITES_AGAIN_WITHIN_S)
    await assert_promises_kept(server, load)
    assert_none(failed)
