"""The embedded engine: one writer, one file, one fsync for many.

The problem: a commit that is on disk costs an fsync, a hundred times the price of the rest. The way taken: callers put
their events on a queue; one task takes what waits, judges and writes it in one transaction, and answers everybody
after the one fsync. While that runs the next batch gathers by itself; it goes when the loop has no more to add to it:
no timer, and who is alone on a loop that is idle waits a few microseconds for company.

Only the writer task touches the write connection, and nobody cancels it. When a commit fails in a way that leaves its
end unknown, the task opens the file again, brings what it finds to disk, and goes on from there.
"""

import asyncio
import sqlite3
import time
from collections import deque
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from events.batch import Batch
from events.database import Database
from events.errors import LogBusy, LogError, LogUnavailable, OutcomeUnknown
from events.folder import require_room
from events.gathering import when_gathered
from events.log import Appended
from events.record import NewEvent, RecordedEvent
from events.store import EventStore

# What may wait for the writer. At 5,000 events/s this is about two seconds; whoever comes then is told to come back.
QUEUE_EVENTS_MAX = 10_000
QUEUE_BYTES_MAX = 64 * 1024 * 1024
# One transaction: large enough to make the fsync cheap, small enough to answer soon.
BATCH_EVENTS_MAX = 512
BATCH_BYTES_MAX = 4 * 1024 * 1024
# How often a log that takes no writes tries whether it can again.
PROBE_INTERVAL_S = 0.5


class SqliteLog(EventStore):
    """The log in an ``events.db`` that this process alone writes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._queue: deque[_Pending] = deque()
        self._queued_bytes = 0
        self._filled = asyncio.Event()
        self._closing = False
        self._fault: str | None = None
        self._database: Database | None = None
        self._writer: asyncio.Task[None]

    @classmethod
    async def open(cls, path: Path) -> "SqliteLog":
        """Open the log, making it if there is none. Raises ``FolderError`` when the file cannot be used."""
        log = cls(path)
        log._database, head = await log._open_writer()
        log._head.raise_to(head)
        await log._open_readers()
        log._writer = asyncio.create_task(log._write_until_closed(), name="log writer")
        return log

    @property
    def fault(self) -> str | None:
        return self._fault

    @property
    def queued_events(self) -> int:
        """How many events wait for the writer."""
        return len(self._queue)

    async def append(self, event: NewEvent, expected: int) -> Appended:
        if self._closing:
            raise LogUnavailable("it is shutting down")
        if self._database is None:
            raise LogUnavailable(self._fault or "it is being opened again")
        if len(self._queue) >= QUEUE_EVENTS_MAX or self._queued_bytes >= QUEUE_BYTES_MAX:
            raise LogBusy(len(self._queue), self._queued_bytes)
        pending = _Pending(event, expected, asyncio.get_running_loop().create_future())
        self._queue.append(pending)
        self._queued_bytes += event.size_bytes
        self._filled.set()
        return await pending.answer

    async def close(self) -> None:
        self._closing = True
        self._filled.set()
        try:
            await asyncio.shield(self._writer)
        finally:
            await self._close_readers()
            if self._database is not None:
                await self._database.close()
                self._database = None

    async def _write_until_closed(self) -> None:
        while True:
            if self._database is None:
                await self._reopen()
            await self._wait_for_work()
            if self._closing and (not self._queue or self._database is None):
                self._refuse_queued(LogUnavailable("it is shutting down"))
                return
            if self._database is not None and (self._queue or self._fault):
                await self._commit(self._database, self._take_batch())

    async def _wait_for_work(self) -> None:
        """Wait for a batch. A log at fault looks again after a while, to see whether it can go on."""
        if not self._queue and not self._closing:
            self._filled.clear()
            timeout_s = PROBE_INTERVAL_S if self._fault else None
            with suppress(TimeoutError):
                await asyncio.wait_for(self._filled.wait(), timeout_s)
        if self._queue and not self._closing:
            gathered = asyncio.Event()
            when_gathered(self._queue, gathered.set)
            await gathered.wait()

    def _take_batch(self) -> list["_Pending"]:
        batch: list[_Pending] = []
        size_bytes = 0
        while self._queue and len(batch) < BATCH_EVENTS_MAX and size_bytes < BATCH_BYTES_MAX:
            pending = self._queue.popleft()
            size_bytes += pending.event.size_bytes
            batch.append(pending)
        self._queued_bytes -= size_bytes
        return batch

    async def _commit(self, database: Database, batch: list["_Pending"]) -> None:
        """Bring a batch to disk and answer it; an empty one only tries whether the log can be written."""
        try:
            written = await database.run(partial(_write, batch=batch, folder=self.path.parent))
        except LogUnavailable as refused:
            self._fault = refused.reason
            self._fail(batch, refused)
        except Exception as error:
            # The commit's end is in doubt; so it is after a failure that nobody thought of.
            unknown = error if isinstance(error, OutcomeUnknown) else OutcomeUnknown(repr(error))
            self._fault = unknown.reason
            await self._let_go(database)
            self._fail(batch, unknown)
        else:
            self._fault = None
            # All in one turn of the loop; those who wait for an answer go on first, then those who follow the log.
            for pending, outcome in zip(batch, written.outcomes, strict=True):
                pending.settle(outcome)
            self._show(written.records)
            self.on_commit(len(written.records), written.commit_s)

    def _fail(self, batch: list["_Pending"], error: LogError) -> None:
        for pending in batch:
            pending.settle(error)

    def _refuse_queued(self, error: LogUnavailable) -> None:
        while self._queue:
            self._fail(self._take_batch(), error)

    async def _let_go(self, database: Database) -> None:
        """Close a connection whose last commit is in doubt; nothing is written through it any more."""
        self._database = None
        self._refuse_queued(LogUnavailable(self._fault or "it is being opened again"))
        try:
            await database.close()
        except (sqlite3.Error, ValueError):
            # The file is opened anew in any case; that will tell what is wrong with it.
            pass

    async def _reopen(self) -> None:
        """Open the file after a fault, bring what is found in it to disk, show it, and take writes again."""
        try:
            self._database, self._fault = await self._open_again(), None
        except Exception as error:
            self._fault = f"the log cannot be opened again: {error}"


class _Pending(msgspec.Struct):
    """An event in the queue, and who waits for its answer."""

    event: NewEvent
    expected: int
    answer: asyncio.Future[Appended]

    def settle(self, outcome: Appended | LogError) -> None:
        if self.answer.done():
            return  # the caller was cancelled; the append stands
        if isinstance(outcome, LogError):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


class _Written(msgspec.Struct, frozen=True):
    """A transaction that is on disk: what became of each event of the batch, and how long the commit took."""

    outcomes: list[Appended | LogError]
    records: list[RecordedEvent]
    commit_s: float


def _write(connection: sqlite3.Connection, batch: list[_Pending], folder: Path) -> _Written:
    """One transaction, in the thread of the write connection. Raises ``LogUnavailable`` or ``OutcomeUnknown``."""
    require_room(folder, sum(pending.event.size_bytes for pending in batch))
    try:
        connection.execute("BEGIN IMMEDIATE")
        writing = Batch(connection, [command for pending in batch if (command := pending.event.command)])
        outcomes = [writing.judge(pending.event, pending.expected) for pending in batch]
        if batch:
            writing.write()
        else:
            _touch(connection)
    except Exception as error:
        # Whatever it was, it came before the commit: nothing has happened.
        _roll_back(connection)
        raise LogUnavailable(str(error)) from error
    started = time.perf_counter()
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            _roll_back(connection)
            raise LogUnavailable(str(error)) from error
        raise OutcomeUnknown(str(error)) from error
    return _Written(outcomes, writing.records, time.perf_counter() - started)


def _touch(connection: sqlite3.Connection) -> None:
    """Write something that means nothing, to see whether writing works."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('probe', strftime('%Y-%m-%dT%H:%M:%fZ'))")


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite rolls back by itself after a full disk or an I/O error (sqlite.org/lang_transaction.html).
    if connection.in_transaction:
        connection.execute("ROLLBACK")
