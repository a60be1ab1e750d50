"""A projection is the fold of its log: the same log gives the same tables, in whatever pages, through any breaks."""

import asyncio
import random
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.log import EventLog
from events.record import RecordedEvent
from events.sqlite_log import SqliteLog
from projections.notes import Notes, decode_note
from projections.projection import Projection
from projections.runner import Runner
from projections.search import Search
from projections.tables import Tables
from projections.versions import Versions
from tests.projections.building import append_history, fold, reached, rows, running

EVENTS = 120
KINDS: list[type[Projection[Any]]] = [Notes, Versions, Search]


def fragile(kind: type[Projection[Any]], faults: list[int]) -> Projection[Any]:
    """A projection whose n-th page fails, for each n, after its rows were written and before its checkpoint."""
    pages = 0

    class Fragile(kind):  # type: ignore[valid-type, misc]
        def apply(self, connection: sqlite3.Connection, records: list[RecordedEvent]) -> list[Any]:
            nonlocal pages
            changes = super().apply(connection, records)
            pages += 1
            if pages in faults:
                raise sqlite3.OperationalError("the disk is full")
            return list(changes)

    return Fragile()


@pytest.fixture(scope="module")
def logs() -> Iterator[list[Path]]:
    """A few logs with histories made by chance."""
    with tempfile.TemporaryDirectory(prefix="notelog-") as folder:
        files = [Path(folder) / f"events-{number}.db" for number in range(3)]
        for seed, file in enumerate(files):
            asyncio.run(make_log(file, seed))
        yield files


async def make_log(file: Path, seed: int) -> None:
    """A log with a history."""
    log = await SqliteLog.open(file)
    await append_history(log, random.Random(seed), EVENTS)
    await log.close()


async def build(log: EventLog, folder: Path, stops: list[int], pages: list[int], faults: list[int]) -> dict[str, Any]:
    """Build all tables, with the runners stopped and started again at these positions; all that is in them then."""
    for stop, page_events in zip([*stops, EVENTS], pages, strict=True):
        tables = await Tables.open(folder / "notes.db")
        for kind in KINDS:
            runner = Runner(log, fragile(kind, faults), tables, page_events=page_events)
            async with running(runner):
                # The runner is cancelled with its next page under way: committed or not, the next one goes on.
                await reached(runner, stop)
        await tables.close()
    connection = sqlite3.connect(folder / "notes.db")
    try:
        found = rows(connection, [table for kind in KINDS for table in kind.tables])
        notes = [decode_note(body) for table in ("notes", "tombstones") for (body,) in bodies(connection, table)]
        assert {note.id: note for note in notes} == await fold(log)
        assert {position for (position,) in connection.execute("SELECT position FROM checkpoints")} == {EVENTS}
        return found
    finally:
        connection.close()


def bodies(connection: sqlite3.Connection, table: str) -> list[tuple[str]]:
    """The notes in a table, as JSON."""
    return connection.execute(f"SELECT body FROM {table}").fetchall()


async def compare(file: Path, stops: list[int], pages: list[int], faults: list[int]) -> None:
    """Build the tables in one page, and as drawn."""
    log = await SqliteLog.open(file)
    try:
        with tempfile.TemporaryDirectory(prefix="notelog-") as one, tempfile.TemporaryDirectory() as other:
            whole = await build(log, Path(one), [], [EVENTS], [])
            assert await build(log, Path(other), stops, pages, faults) == whole
    finally:
        await log.close()


@settings(max_examples=20, deadline=None)
@given(
    which=st.integers(0, 2),
    breaks=st.lists(st.tuples(st.integers(0, EVENTS), st.integers(1, 40)), max_size=4),
    last_page=st.integers(1, 200),
    faults=st.lists(st.integers(1, 8), max_size=3),
)
def test_equal_tables_in_any_pages_through_any_breaks(
    logs: list[Path], which: int, breaks: list[tuple[int, int]], last_page: int, faults: list[int]
) -> None:
    """In pages of any size, stopped anywhere and gone on with, through faults in a page, the tables come out equal."""
    breaks = sorted(breaks)
    stops = [stop for stop, _ in breaks]
    pages = [page for _, page in breaks] + [last_page]
    asyncio.run(compare(logs[which], stops, pages, faults))
