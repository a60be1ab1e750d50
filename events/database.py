"""SQLite connections as this project uses them: a thread each, work done in whole hops.

The problem: every statement that is awaited alone costs a trip to the connection's thread and back, which is more
than the statement itself (measured: a point read costs 77 µs through a cursor, 12 when those who wait share a trip).
The way taken: hand the thread a function that does everything of one kind at once. For writing that is a batch; for
reading it is everybody who has come by then, in one read transaction, so that they also share one snapshot.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from events.gathering import when_gathered

T = TypeVar("T")

# Another process may hold the file for a moment (a backup, a tool); longer than this is a fault to be told.
BUSY_TIMEOUT_S = 5.0
# Page cache of a connection. Inner pages of the indexes of a million notes fit; memory stays small.
CACHE_KIB = 8 * 1024


class Database(aiosqlite.Connection):
    """An aiosqlite connection whose thread also runs whole functions."""

    def submit(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Queue ``work`` for the connection's thread. It runs to its end whether anybody waits or not."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((future, partial(work, self._conn)))
        return future

    def join(self) -> None:
        """Wait for the connection's thread to end. Not in the event loop: the thread has something to tell it."""
        self._thread.join()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work(connection)`` in the connection's thread and return its result.

        A cancelled caller does not stop the work: shield what must be followed to its end.
        """
        return await self.submit(work)


def in_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """``work(connection)``, committed; nothing of it when it raises, which is passed on."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


async def open_writer(
    path: Path, synchronous: str, check: Callable[[sqlite3.Connection], None] = lambda _: None
) -> Database:
    """The one connection that commits to the file and checkpoints its WAL (sqlite.org/wal.html#walresetbug).

    ``synchronous`` is FULL where a commit must be on disk when it returns, NORMAL where it can be made anew.
    ``check`` looks at the file before anything in it is changed, and raises when it is not ours.
    """
    database = await _open(f"file:{_quoted(path)}")
    try:
        await database.run(check)
        await database.run(partial(_prepare_writer, synchronous=synchronous))
        if synchronous == "FULL":
            await database.run(partial(_sync_found, path=path))
    except BaseException:
        await database.close()
        raise
    return database


async def open_reader(path: Path) -> Database:
    """A connection that can only read: it neither commits nor checkpoints."""
    database = await _open(f"file:{_quoted(path)}?mode=ro")
    try:
        await database.run(_prepare_reader)
    except BaseException:
        await database.close()
        raise
    return database


async def _open(uri: str) -> Database:
    database = Database(partial(_connect, uri), iter_chunk_size=64)
    try:
        await database
    except BaseException:
        # aiosqlite tells the thread to end and does not wait; a loop that is closed before would be called from it.
        await asyncio.to_thread(database.join)
        raise
    return database


def _connect(uri: str) -> sqlite3.Connection:
    # isolation_level None: transactions are where we write them. The thread of aiosqlite is the only one to use it.
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S, cached_statements=256)


def _prepare_writer(connection: sqlite3.Connection, synchronous: str) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    # An INSERT OR REPLACE fires the triggers on DELETE only so.
    connection.execute("PRAGMA recursive_triggers = ON")


def _sync_found(_: sqlite3.Connection, path: Path) -> None:
    """Bring the write-ahead log that was found to disk, before anybody is shown what is in it.

    A process that was killed between a commit's write and its fsync leaves frames that only the kernel has. SQLite
    reads them as committed, and a power cut would take them back. (Its locks are on the other files, so that closing
    this one loses none: sqlite.org/howtocorrupt.html, 2.2.)
    """
    try:
        found = os.open(f"{os.path.realpath(path)}-wal", os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(found)
    except OSError as error:
        raise sqlite3.OperationalError(f"what was found in {path}-wal cannot be brought to disk: {error}") from error
    finally:
        os.close(found)


def _prepare_reader(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")


def _quoted(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


class Reader:
    """A read connection shared by many: all reads that wait go in one hop and see one snapshot.

    Reads must be short (a page, bounded in bytes), because those of one hop wait for each other.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]]] = []
        self._hop: asyncio.Future[list[tuple[Any, Exception | None]]] | None = None
        self._sailing: list[asyncio.Future[Any]] = []

    def read(self, query: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """The result of ``query(connection)``, to be awaited. A cancelled caller just does not get it."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((query, future))
        if self._hop is None and len(self._waiting) == 1:
            when_gathered(self._waiting, self._set_out)
        return future

    async def close(self) -> None:
        """Close the connection after the reads under way, or those that gather. Reads that come later fail."""
        self._set_out()
        await self._database.close()

    def _set_out(self) -> None:
        if self._hop is not None or not self._waiting:
            return  # they went when the reader was closed
        queries = [query for query, _ in self._waiting]
        self._sailing = [future for _, future in self._waiting]
        self._waiting = []
        try:
            self._hop = self._database.submit(partial(_read_all, queries=queries))
        except ValueError as closed:
            self._settle([(None, closed)] * len(queries))
        else:
            self._hop.add_done_callback(self._arrive)

    def _arrive(self, hop: asyncio.Future[list[tuple[Any, Exception | None]]]) -> None:
        self._hop = None
        error = None if hop.cancelled() else hop.exception()
        if isinstance(error, Exception):
            self._settle([(None, error)] * len(self._sailing))
        elif not hop.cancelled():
            self._settle(hop.result())
        if self._waiting:
            when_gathered(self._waiting, self._set_out)

    def _settle(self, results: list[tuple[Any, Exception | None]]) -> None:
        for future, (value, error) in zip(self._sailing, results, strict=True):
            if future.done():
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
        self._sailing = []


def _read_all(
    connection: sqlite3.Connection, queries: list[Callable[[sqlite3.Connection], Any]]
) -> list[tuple[Any, Exception | None]]:
    try:
        return [_outcome(connection, query) for query in queries]
    finally:
        if connection.in_transaction:
            connection.execute("COMMIT")


def _outcome(
    connection: sqlite3.Connection, query: Callable[[sqlite3.Connection], Any]
) -> tuple[Any, Exception | None]:
    try:
        if not connection.in_transaction:  # the first of the hop, or SQLite ended it after an I/O error
            connection.execute("BEGIN")
        return query(connection), None
    except Exception as error:  # handed to the one who asked; the others of the hop must not suffer from it
        return None, error
