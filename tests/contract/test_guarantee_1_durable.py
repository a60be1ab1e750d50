"""1. An append that returned is on disk. (Power cuts at any point are in tests/faults.)"""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from events.store import EventStore
from tests.engines import Engine, creation, found_by_another_process

ROOT = Path(__file__).resolve().parents[2]


async def test_another_process_finds_what_was_answered(log: EventStore) -> None:
    """At the moment of the answer the record is in the file, whole, for a process that shares nothing with us."""
    answers = await asyncio.gather(*(log.append(creation(), 0) for _ in range(20)))
    found = await asyncio.to_thread(found_by_another_process, log.path)
    assert found == sorted((answer.record for answer in answers), key=lambda record: record.position)


async def test_commits_are_synced(log: EventStore) -> None:
    """The connection that commits does so with an fsync each time (sqlite.org/pragma.html#pragma_synchronous)."""
    assert log._database is not None
    for name, value in (("synchronous", 2), ("journal_mode", "wal")):
        assert (await log._database.run(lambda connection: connection.execute(f"PRAGMA {name}").fetchone())) == (value,)  # noqa: B023


async def test_answers_survive_the_death_of_the_process(engine: Engine) -> None:
    """A process that is killed at the moment of its last answer has lost nothing that it answered."""
    command = [sys.executable, "-m", "tests.contract.writer", *engine.arguments, "--tasks=8", "--events=400", "--kill"]
    died = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, check=False)
    answers = [json.loads(line) for line in died.stdout.splitlines()]
    assert (died.returncode, len(answers)) == (-9, 400), died.stderr.decode()
    async with engine.opened() as log:
        found = {record.position: record.actor for record in await log.read(0)}
    assert found == {answer["position"]: answer["actor"] for answer in answers}
