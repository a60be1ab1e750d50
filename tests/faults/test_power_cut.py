"""Power loss: the folder is rebuilt as a cut could leave it, and every answered write looked for."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.sizes import count

from .answers import Request
from .checker import broken_promises, differences, read_events
from .load import Load, read_notes
from .process import Server
from .promises import assert_none
from .recording import Cut, Disk, Kind, Operation, build_recorder, cuts, read_journal, recorder_environment, whole

pytestmark = pytest.mark.faults

# Most cuts are opened with SQLite alone (milliseconds), these many of them also with the real service (a second each).
CUTS, SERVED_CUTS = count("power_cuts"), count("served_power_cuts")
# Enough for the write-ahead file to be checkpointed and begun again: a cut in the middle of that is the hardest.
ANSWERS = count("recorded_answers")


async def test_nothing_answered_is_lost_by_a_power_cut(server: Server, seed: int, tmp_path: Path) -> None:
    """Cut off anywhere, with any part of the unsynced writes gone, the log holds what was answered before the cut."""
    dice = random.Random(seed)
    operations, load = await record(server, seed, tmp_path)
    served = set(dice.sample(range(CUTS), SERVED_CUTS))
    broken: list[str] = []
    for number, cut in enumerate(cuts(operations, CUTS, dice)):
        known = [request.as_known_at(cut.at_ns) for request in load.requests]
        folder = tmp_path / f"cut-{number}"
        found = await (served_promises if number in served else stored_promises)(cut, folder, known)
        broken += [f"cut {number} ({cut.place}): {promise}" for promise in found]
        if not found:
            shutil.rmtree(folder)  # what broke a promise is kept, to be looked at
    print(f"{CUTS} power cuts, {SERVED_CUTS} of them served")
    assert_none(broken)


async def test_what_a_killed_process_left_is_brought_to_disk_before_it_is_shown(
    server: Server, seed: int, tmp_path: Path
) -> None:
    """A process that dies between a commit's write and its fsync leaves events that only the kernel has.

    The next one reads them as committed, answers with them and signs them: so it syncs them first.
    """
    environment = recorder_environment(build_recorder(tmp_path), server.data, tmp_path / "journal")
    server.data.mkdir()
    await server.start(environment=environment)
    for _ in range(3):
        async with server.session.post(server.url + "/notes", json={"title": "Milk"}) as response:
            assert response.status == 201
    await server.kill()
    lived = len(read_journal(tmp_path / "journal"))
    await server.start(environment=environment)
    assert len(await read_notes(server)) == 3
    await server.kill()
    disk = Disk()
    for number, operation in enumerate(read_journal(tmp_path / "journal")):
        if number >= lived or operation.kind is not Kind.SYNC or operation.path != "events.db-wal":
            disk.do(operation)  # as if it had died before any fsync
    Cut(0, "the end", disk.after_cut("all", random.Random(seed))).restore(tmp_path / "cut", "events.db")
    assert len(read_events(tmp_path / "cut", mode="rw")) == 3


async def record(server: Server, seed: int, tmp_path: Path) -> tuple[list[Operation], Load]:
    """Load the service while its writes are written down: its birth, a kill, a recovery, and a graceful stop."""
    library = build_recorder(tmp_path)
    server.data.mkdir()
    environment = recorder_environment(library, server.data, tmp_path / "journal")
    await server.start(environment=environment)
    async with Load(server, seed) as load:
        await load.answered(ANSWERS // 2)
        await server.kill()
        await server.start(environment=environment)
        await load.answered(ANSWERS // 2)
    assert await server.stop() == 0
    operations = read_journal(tmp_path / "journal")
    assert_recorded_all(operations, server.data)
    print(f"{len(operations)} operations, {sum(o.kind is Kind.SYNC for o in operations)} fsyncs, {load.ok} answers")
    return operations, load


def assert_recorded_all(operations: list[Operation], data: Path) -> None:
    """The journal makes the same folder again: nothing was written past the recorder."""
    real = {
        str(path.relative_to(data)): path.read_bytes()
        for path in data.rglob("*")
        if path.is_file() and not path.name.endswith("-shm")
    }
    replayed = whole(operations)
    unlike = [path for path in real.keys() | replayed.keys() if real.get(path) != replayed.get(path)]
    assert not unlike, f"the recorder missed writes to {unlike}"


async def stored_promises(cut: Cut, folder: Path, known: list[Request]) -> list[str]:
    """Open the log with SQLite alone."""
    cut.restore(folder, "events.db")
    return broken_promises(known, read_events(folder, mode="rw"))


async def served_promises(cut: Cut, folder: Path, known: list[Request]) -> list[str]:
    """Start the real service on the folder: it must be ready, keep the promises, show the fold, and take a write."""
    cut.restore(folder)
    async with Server(folder) as server:
        await server.start()
        events = read_events(folder)
        broken = [*broken_promises(known, events), *differences(events, await read_notes(server))]
        async with server.session.post(server.url + "/notes", json={"title": "after the cut"}) as response:
            position = int(response.headers.get("Notelog-Position", 0))
        if (response.status, position) != (201, len(events) + 1):
            broken.append(f"a write after the cut: {response.status} at {position}, expected {len(events) + 1}")
        assert await server.stop() == 0
    return broken
