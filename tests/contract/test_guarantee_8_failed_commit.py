"""8. A commit that failed for want of space has not happened; one that failed otherwise is unknown, and the log goes on
only after it has opened its file again and read its head."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from events.errors import LogUnavailable
from events.log import EventLog
from tests.contract.test_guarantee_1_durable import ROOT
from tests.engines import WITHIN_S, Engine, creation, everything
from tests.faults.disk import fill, make_room, small_disk
from tests.faults.strace import need_strace


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own, to be filled."""
    with small_disk(tmp_path / "disk", 24 * 1024 * 1024) as disk:
        yield disk


async def goes_on(log: EventLog) -> None:
    """Wait until the log takes writes again, by itself."""
    async with asyncio.timeout(WITHIN_S):
        while log.fault is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_full_disk_refuses_and_recovers(engine: Engine, disk: Path) -> None:
    """With no room nothing is appended and reads go on; when there is room again the log goes on without a hole."""
    engine.file = disk / "events.db"
    async with engine.opened() as log:
        before = [(await log.append(creation(), 0)).record for _ in range(10)]
        fill(disk)
        for _ in range(3):
            with pytest.raises(LogUnavailable, match="make room there"):
                await log.append(creation(), 0)
        assert log.fault is not None
        assert await everything(log) == before
        make_room(disk)
        await goes_on(log)
        after = (await log.append(creation(), 0)).record
        assert await everything(log) == [*before, after]


FULL = ("pwrite64", "ENOSPC", "LogUnavailable")
BROKEN = ("fsync,fdatasync", "EIO", "OutcomeUnknown")
SMALL = ("--tasks=4", "--events=400")
LARGE = ("--tasks=200", "--events=600", "--data-bytes=60000")  # more is queued than a batch takes


@pytest.mark.parametrize(
    ("fault", "nth", "load"),
    [(FULL, 30, SMALL), (FULL, 60, SMALL), (FULL, 40, LARGE), (BROKEN, 20, SMALL), (BROKEN, 40, SMALL)],
)
async def test_a_failing_disk(
    engine: Engine, tmp_path: Path, fault: tuple[str, str, str], nth: int, load: tuple[str, ...]
) -> None:
    """The n-th system call on the log's file fails: what was answered is there once, what was refused is not there,
    what is unknown is there at most once, and the log goes on."""
    skip_unless_committed_here(engine)
    call, error, outcome = fault
    answers = await answers_under(f"inject={call}:error={error}:when={nth}", engine, load, tmp_path / "trace")
    await assert_true(answers, engine)
    outcomes = [answer["outcome"] for answer in answers]
    assert outcome in outcomes
    assert "Appended" in outcomes[outcomes.index(outcome) :], "the log did not go on"


async def test_a_log_that_cannot_go_on(engine: Engine, tmp_path: Path) -> None:
    """When the file cannot be brought to disk again after a failure, everybody who waits is answered all the same, and
    the log can be closed."""
    skip_unless_committed_here(engine)
    async with engine.opened() as log:
        await log.append(creation(), 0)
    reader = sqlite3.connect(engine.file, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM events").fetchall()  # the first commit cannot leave the write-ahead log
    load = (
        "--tasks=300",
        "--events=300",
        "--data-bytes=60000",
    )  # several batches, so that more than one waits behind the one that fails
    answers = await answers_under("inject=fsync,fdatasync:error=EIO:when=3", engine, load, tmp_path / "trace")
    reader.close()
    await assert_true(answers, engine)
    assert len(answers) == 300
    assert {answer["outcome"] for answer in answers} == {"Appended", "OutcomeUnknown", "LogUnavailable"}


@pytest.mark.parametrize("fault", [FULL, BROKEN])
async def test_a_replica_whose_disk_fails_is_mended(
    engine: Engine, tmp_path: Path, fault: tuple[str, str, str]
) -> None:
    """Where the file is a replica, a failure to write it only costs time: it is opened again and goes on, and what was
    answered meanwhile is true."""
    if engine.commits_here:
        pytest.skip("the file is the log itself")
    call, error, _ = fault
    answers = await answers_under(f"inject={call}:error={error}:when=30", engine, SMALL, tmp_path / "trace")
    await assert_true(answers, engine)
    outcomes = [answer["outcome"] for answer in answers]
    assert outcomes.count("Appended") > len(outcomes) / 2
    assert "Appended" in outcomes[-10:], "the log did not go on"


def skip_unless_committed_here(engine: Engine) -> None:
    """The faults hit the file."""
    if not engine.commits_here:
        pytest.skip("an append is not committed by a write to this file but by the servers: tests/cluster")


async def answers_under(fault: str, engine: Engine, load: tuple[str, ...], trace: Path) -> list[dict[str, Any]]:
    """What a process that writes under the fault was answered. Only its write-ahead log is hit: every commit goes
    there first. strace counts for each thread, and a file that is opened again has a new one."""
    need_strace()
    command = [
        *("timeout", "--signal=KILL", str(WITHIN_S), "strace", "-f", "--seccomp-bpf", "-o", str(trace)),
        *("-P", f"{engine.file}-wal", "-e", "trace=fsync,fdatasync,pwrite64", "-e", fault),
        *(sys.executable, "-m", "tests.contract.writer", *engine.arguments, *load),
    ]
    process = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, check=False)
    assert process.returncode == 0, process.stderr.decode()
    assert "(INJECTED)" in trace.read_text()
    return [json.loads(line) for line in process.stdout.splitlines()]


async def assert_true(answers: list[dict[str, Any]], engine: Engine) -> None:
    """What was appended is there once, at its position; what was refused is not; what is unknown at most once."""
    async with engine.opened() as log:
        found = await everything(log)
    assert [record.position for record in found] == list(range(1, len(found) + 1))
    times = Counter(record.actor for record in found)
    may = {"Appended": [1], "LogUnavailable": [0], "OutcomeUnknown": [0, 1]}
    for answer in answers:
        assert times[answer["actor"]] in may[answer["outcome"]], answer
        if answer["outcome"] == "Appended":
            assert found[answer["position"] - 1].actor == answer["actor"]
