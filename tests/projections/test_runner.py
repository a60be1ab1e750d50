"""The runner: it follows the log, keeps its checkpoint with the rows, outlasts what passes, stops at what does not."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from events import database
from events.sqlite_log import SqliteLog
from projections.notes import NoteChange, Notes, decode_note
from projections.projection import ProjectionStopped
from projections.queries import Queries
from projections.runner import Runner, State
from projections.tables import Checkpoint, Tables, select_checkpoint
from tests.projections.building import CREATED, WITHIN_S, append, append_raw, fold, reached, running


async def until(holds: Callable[[], bool], what: str) -> None:
    """Poll until something holds."""
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)


async def checkpoint(tables: Tables) -> Checkpoint | None:
    """The checkpoint in the file."""
    return await tables.writer.run(lambda connection: select_checkpoint(connection, "notes"))


async def test_it_follows_the_log(log: SqliteLog, tables: Tables) -> None:
    """What is appended is soon in the table, and announced once, in order, before the checkpoint rises."""
    announced: list[NoteChange] = []
    behind: list[int] = []

    def announce(changes: list[NoteChange]) -> None:
        announced.extend(changes)
        behind.append(runner.checkpoint.value)

    runner = Runner(log, Notes(), tables, announce)
    async with running(runner):
        for number in range(1, 6):
            note = await append(log, None, CREATED)
            await reached(runner, number)
            row = await Queries(tables).note(note.id)
            assert row is not None
            assert decode_note(row.body) == note
            assert behind[-1] < number
    assert [change.position for change in announced] == [1, 2, 3, 4, 5]
    found = await checkpoint(tables)
    assert found is not None
    assert (found.position, found.epoch) == (5, log.epoch)


@pytest.mark.parametrize("poison", ["NoteExploded", "NoteCreated", "a newer schema", "NoteEdited"])
async def test_it_stops_before_an_event_that_it_cannot_apply(log: SqliteLog, tables: Tables, poison: str) -> None:
    """All before a poisonous event is applied, nothing of it or after it; the reason and the place are told to all."""
    for _ in range(3):
        await append(log, None, CREATED)
    if poison == "a newer schema":
        await append_raw(log, "NoteCreated", schema=99)
    else:
        await append_raw(log, poison, data='{"nonsense":1}' if poison == "NoteCreated" else "{}")
    await append(log, None, CREATED)
    async with running(Runner(log, Notes(), tables)) as runner:
        with pytest.raises(ProjectionStopped) as stopped:
            await reached(runner, 4)
        assert (runner.state, runner.checkpoint.value) == (State.STOPPED, 3)
        assert "event 4" in str(runner.error)
        assert "event 4" in str(stopped.value)
        if poison in ("NoteExploded", "a newer schema"):
            assert "written by a newer version: upgrade this one" in str(runner.error)
    page = await Queries(tables).changes(0)
    assert [row.id for row in page.notes] == [1, 2, 3]
    async with running(Runner(log, Notes(), tables)) as again:
        with pytest.raises(ProjectionStopped):
            await reached(again, 4)
        assert again.checkpoint.value == 3


async def test_poison_that_comes_while_it_runs(log: SqliteLog, tables: Tables) -> None:
    """A poisonous event that is appended later stops it there too, and whoever waits for more is told at once."""
    async with running(Runner(log, Notes(), tables)) as runner:
        await append(log, None, CREATED)
        await reached(runner, 1)
        waiting = asyncio.create_task(reached(runner, 3))
        await append_raw(log, "NoteExploded")
        with pytest.raises(ProjectionStopped):
            await waiting
        assert runner.checkpoint.value == 1


async def test_it_outlasts_a_locked_file(log: SqliteLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another program holds the file it says that it tries again; when the file is free it goes on, unasked."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.01)
    tables = await Tables.open(tmp_path / "notes.db")
    other = sqlite3.connect(tmp_path / "notes.db", isolation_level=None)
    try:
        async with running(Runner(log, Notes(), tables)) as runner:
            await append(log, None, CREATED)
            await reached(runner, 1)
            other.execute("BEGIN IMMEDIATE")
            await append(log, None, CREATED)
            await until(lambda: runner.state is State.RETRYING, "it tries again")
            assert "locked" in str(runner.error)
            assert runner.checkpoint.value == 1
            other.execute("ROLLBACK")
            await reached(runner, 2)
            await is_well(runner)
    finally:
        other.close()
        await tables.close()


def make_breakable(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """While the event is set, the log cannot be read."""
    read, broken = log.read, asyncio.Event()

    async def read_or_fail(*arguments: Any) -> Any:
        if broken.is_set():
            raise sqlite3.OperationalError("disk I/O error")
        return await read(*arguments)

    monkeypatch.setattr(log, "read", read_or_fail)
    return broken


async def is_well(runner: Runner[Any]) -> None:
    """Wait until the runner has nothing to complain of."""
    await until(lambda: (runner.state, runner.error) == (State.RUNNING, None), "all is well")


async def test_it_outlasts_a_log_that_cannot_be_read(
    log: SqliteLog, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the log cannot be read, at the start or later, it says that it tries again; then it goes on, unasked."""
    broken = make_breakable(log, monkeypatch)
    broken.set()
    await append(log, None, CREATED)
    async with running(Runner(log, Notes(), tables)) as runner:
        for position in (1, 2, 3):
            await until(lambda: runner.state is State.RETRYING, "it tries again")
            assert runner.checkpoint.value < position
            broken.clear()
            await reached(runner, position)
            await is_well(runner)
            broken.set()
            await append(log, None, CREATED)


async def test_two_runners_on_one_file_do_not_spoil_it(log: SqliteLog, tables: Tables) -> None:
    """When somebody else has moved the checkpoint, it stops instead of applying events twice."""
    async with running(Runner(log, Notes(), tables)) as first:
        await append(log, None, CREATED)
        await reached(first, 1)
        await tables.writer.run(lambda connection: connection.execute("UPDATE checkpoints SET position = 7").close())
        await append(log, None, CREATED)
        with pytest.raises(ProjectionStopped):
            await reached(first, 2)
    assert [row.id for row in (await Queries(tables).changes(0)).notes] == [1]


WRONG = {
    "another epoch": "UPDATE checkpoints SET epoch = 'f'",
    "another record there": "UPDATE checkpoints SET hash = x'00'",
    "beyond the head": "UPDATE checkpoints SET position = 99",
    "another version": "UPDATE checkpoints SET version = 0",
    "no checkpoint": "DELETE FROM checkpoints",
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
async def test_tables_that_do_not_fit_are_built_anew(log: SqliteLog, tables: Tables, change: str) -> None:
    """Tables of another log, or of another version, are thrown away, and built to the fold of this log."""
    for _ in range(3):
        await append(log, None, CREATED)
    async with running(Runner(log, Notes(), tables)) as runner:
        await reached(runner, 3)

    def spoil(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE notes SET title = 'spoiled', body = replace(body, 'Milk', 'spoiled')")
        connection.execute("INSERT INTO tombstones VALUES (77, 77, 1, '{}')")
        connection.execute(change)

    await tables.writer.run(spoil)
    async with running(Runner(log, Notes(), tables)) as runner:
        await reached(runner, 3)
        page = await Queries(tables).changes(0)
    assert {row.id: decode_note(row.body) for row in page.notes} == await fold(log)
