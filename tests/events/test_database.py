"""Connections: reads that share a hop and a snapshot, and do not hurt each other."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from events.database import Database, Reader, open_reader, open_writer
from tests.engines import soon


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Database]:
    """A connection that writes to a file with one row."""
    database = await open_writer(tmp_path / "numbers.db", synchronous="NORMAL")
    await database.run(lambda connection: connection.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (1)"))
    yield database
    await database.close()


@pytest.fixture
async def reader(writer: Database, tmp_path: Path) -> AsyncIterator[Reader]:
    """A reader of the same file."""
    reader = Reader(await open_reader(tmp_path / "numbers.db"))
    yield reader
    await reader.close()


def total(connection: sqlite3.Connection) -> int:
    """The sum of the table."""
    return int(connection.execute("SELECT sum(x) FROM t").fetchone()[0])


async def test_reads_of_one_turn_share_a_hop(reader: Reader) -> None:
    """Reads that were asked for together run in one transaction: one trip to the thread, one snapshot."""
    changes: list[tuple[bool, int]] = []

    def look(connection: sqlite3.Connection) -> None:
        changes.append((connection.in_transaction, id(connection)))

    connection_of_each = [reader.read(look) for _ in range(10)]
    hops = reader._database._tx.qsize()
    await asyncio.gather(*connection_of_each)
    assert hops == 0  # nothing set out before the turn of the loop was over
    assert changes == [changes[0]] * 10
    assert changes[0][0]


async def test_reads_of_turns_that_follow_each_other_share_a_hop(reader: Reader) -> None:
    """Clients that come one after the other, without a pause between, wake the thread once."""
    statements: list[str] = []
    await reader.read(lambda connection: connection.set_trace_callback(statements.append))
    reads = []
    for _ in range(10):
        reads.append(reader.read(total))
        await asyncio.sleep(0)
    assert await asyncio.gather(*reads) == [1] * 10
    assert statements.count("BEGIN") == 1


async def test_one_snapshot_for_a_hop(reader: Reader, writer: Database) -> None:
    """A commit that falls between two reads of a hop is seen by neither, and by the next hop."""

    def commit_elsewhere(connection: sqlite3.Connection) -> int:
        before = total(connection)
        other = sqlite3.connect(connection.execute("PRAGMA database_list").fetchone()[2])
        with other:
            other.execute("INSERT INTO t VALUES (10)")
        other.close()
        return before

    assert await asyncio.gather(reader.read(commit_elsewhere), reader.read(total)) == [1, 1]
    assert await reader.read(total) == 11


async def test_a_query_that_fails_hurts_nobody_else(reader: Reader) -> None:
    """The error goes to the one who asked; the others of the hop get their answers."""
    outcomes = await asyncio.gather(
        reader.read(total),
        reader.read(lambda connection: connection.execute("SELECT * FROM nowhere")),
        reader.read(total),
        return_exceptions=True,
    )
    assert (outcomes[0], outcomes[2]) == (1, 1)
    assert isinstance(outcomes[1], sqlite3.OperationalError)


async def test_a_query_that_ends_the_transaction_hurts_nobody_else(reader: Reader) -> None:
    """After an I/O error SQLite may end the transaction by itself: the others of the hop still get their answers."""

    def interrupted(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")

    outcomes = await asyncio.gather(
        *(reader.read(query) for query in (total, interrupted, total, interrupted)), return_exceptions=True
    )
    assert (outcomes[0], outcomes[2]) == (1, 1)
    assert isinstance(outcomes[1], sqlite3.OperationalError)
    assert await reader.read(lambda connection: connection.in_transaction)


async def test_a_cancelled_read_hurts_nobody_else(reader: Reader) -> None:
    """Callers who go away before, during or after their hop just do not get an answer."""
    kept, cancelled = [], []
    for _ in range(30):
        kept.append(reader.read(total))
        going = reader.read(total)
        cancelled.append(going)
        going.cancel()
        await asyncio.sleep(0)
    for future in kept:
        assert await soon(future) == 1
    assert all(future.cancelled() for future in cancelled)


async def test_a_closed_reader_fails_at_once(reader: Reader) -> None:
    """A read of a closed connection is an error, not a wait for ever; those under way end."""
    under_way = [reader.read(total) for _ in range(5)]
    await asyncio.sleep(0)
    await reader.close()
    assert await asyncio.gather(*under_way) == [1] * 5
    with pytest.raises(ValueError, match="no active connection"):
        await soon(reader.read(total))


async def test_work_runs_to_its_end(writer: Database) -> None:
    """A caller that is cancelled does not stop what the connection's thread does for it."""
    caller = asyncio.create_task(writer.run(lambda connection: connection.execute("INSERT INTO t VALUES (5)")))
    await asyncio.sleep(0)
    caller.cancel()
    assert await writer.run(total) == 6


async def test_readers_leave_the_file_alone(reader: Reader) -> None:
    """A reader can neither write nor checkpoint (sqlite.org/wal.html#walresetbug)."""
    assert await reader.read(lambda connection: connection.execute("PRAGMA query_only").fetchone()) == (1,)
    assert await reader.read(lambda connection: connection.execute("PRAGMA wal_autocheckpoint").fetchone()) == (0,)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await reader.read(lambda connection: connection.execute("INSERT INTO t VALUES (2)"))
