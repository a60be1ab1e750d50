"""``ledger.db``: opening it, judging whether it fits the log, and what it says of the log's end when it is closed.

The file is evidence. It is made when there is none, put aside under another name when the log has become another one
(a copy that was started), and otherwise never replaced: one that does not fit the log is kept as it is, and nothing is
signed any more until somebody has looked.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

from events.database import Database, Reader, in_transaction, open_reader, open_writer
from events.errors import NotelogError
from events.log import EventLog
from events.record import found_hash
from projections.ledger import (
    Ledger,
    LedgerContradicted,
    require_consistent,
    select_tile,
)
from projections.merkle import HASH_BYTES, TILE_HASHES
from projections.tables import (
    CHECKPOINTS,
    Checkpoint,
    discard,
    insert_checkpoint,
    select_checkpoint,
)

T = TypeVar("T")

# The name in the table of checkpoints under which it is noted where the log ended when the service stopped in order.
CLOSED = "closed"
# Copying the stream into an empty replica: at 20,000 events/s this is a log of 12 million. After it the alarm is given.
CATCH_UP_WITHIN_S = 600.0

LOST = (
    "there is no ledger of this log, or its checkpoint is missing, though the log was signed before: "
    "see 'A ledger that was lost' in docs/OPERATIONS.md"
)


class LedgerDoesNotFit(NotelogError):
    """The ledger and the log contradict each other. Both are kept as they are; the operator must look."""


class LedgerBook:
    """The open file: the connection that writes, and one that reads.

    ``added``: how many events came to the log after the service had stopped and before it was started. They contradict
    nothing and are taken in; but somebody else than the service has put them there.
    """

    def __init__(self, path: Path, log: EventLog, writer: Database, reader: Reader, added: int) -> None:
        self.path = path
        self.writer = writer
        self.reader = reader
        self.added = added
        self._log = log

    @classmethod
    async def open(cls, path: Path, log: EventLog, ancestors: Collection[str], *, expected: bool) -> "LedgerBook":
        """Open the ledger of the log, making it if there is none.

        ``ancestors``: the epochs that the log had before it was copied; a ledger of one of them is put aside.
        ``expected``: there must be one, because the log was signed before. Raises ``LedgerDoesNotFit``.
        """
        try:
            found = _peek(path)
            replaceable = found is None or (
                found.epoch != log.epoch and (found.position == 0 or found.epoch in ancestors)
            )
            if replaceable and expected:
                raise LedgerDoesNotFit(LOST)
            if replaceable and found is not None:
                _put_aside(path, found)
            # FULL: a root must be on disk before it is signed.
            writer = await open_writer(path, synchronous="FULL")
        except (sqlite3.Error, OSError) as error:
            raise LedgerDoesNotFit(f"{path} cannot be opened: {error}") from error
        try:
            await writer.run(lambda connection: connection.execute(CHECKPOINTS).close())
            await _judge(writer, log)
            closed = await writer.run(partial(select_checkpoint, name=CLOSED))
            if closed is not None and closed.position > log.head:
                raise LedgerDoesNotFit(f"the log ended at {closed.position} when it was closed, now at {log.head}")
            await writer.run(partial(in_transaction, work=partial(_reopened, epoch=log.epoch)))
        except sqlite3.Error as error:
            await writer.close()
            raise LedgerDoesNotFit(f"{path} cannot be read: {error}") from error
        except BaseException:
            await writer.close()
            raise
        # A replica of a distributed log goes on by itself; the embedded one only while its service runs.
        added = log.head - closed.position if closed is not None and log.complete else 0
        return cls(path, log, writer, Reader(await open_reader(path)), added)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do ``work`` in a transaction of its own; it is on disk when this returns. Cancel: it is done or not."""
        return await self.writer.run(partial(in_transaction, work=work))

    async def close(self) -> None:
        """Note where the log ends, so that what is added to it while no service runs can be told. After the log."""
        await self.reader.close()
        try:
            await self.writer.run(partial(_note_end, epoch=self._log.epoch, head=self._log.head))
        finally:
            await self.writer.close()


async def replica_is_there(path: Path, log: EventLog) -> None:
    """Wait until a log that follows another one has what its ledger has seen, or all that there is.

    A node whose ``events.db`` was removed builds it anew: until then the ledger is ahead, and nothing is wrong.
    """
    end = await asyncio.to_thread(_peek_end, path)
    if log.complete or log.head >= end:
        return
    waits = [asyncio.ensure_future(wait) for wait in (log.wait_past(end - 1), log.caught_up())]
    try:
        await asyncio.wait(waits, timeout=CATCH_UP_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _peek_end(path: Path) -> int:
    """The last position that the ledger has heard of. Of a file that cannot be read 0: opening it tells why."""
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT coalesce(max(position), 0) FROM checkpoints").fetchone()[0])
    except sqlite3.Error:
        return 0


def _peek(path: Path) -> Checkpoint | None:
    """The ledger's checkpoint, without changing anything."""
    if not path.exists():
        return None
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'checkpoints'").fetchone()[0]
        return select_checkpoint(connection, Ledger.name) if tables else None
    finally:
        connection.close()


def _put_aside(path: Path, found: Checkpoint) -> None:
    """Keep the ledger of the log that this one is a copy of; an empty one says nothing and goes."""
    if found.position == 0:
        discard(path)
        return
    kept = path.with_name(f"{path.stem}-{found.epoch}{path.suffix}")
    if kept.exists():
        raise LedgerDoesNotFit(f"the ledger of the log that this one was copied from is in {path} and in {kept}")
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
    finally:
        connection.close()
    path.rename(kept)


async def _judge(writer: Database, log: EventLog) -> None:
    """Raises ``LedgerDoesNotFit`` with what does not, and goes on to say nothing."""
    found = await writer.run(partial(select_checkpoint, name=Ledger.name))
    if found is None:
        if await writer.run(_has_tables):
            raise LedgerDoesNotFit("the ledger's checkpoint is missing")
        return
    if found.version != Ledger.version:
        raise LedgerDoesNotFit(f"the ledger has version {found.version}, this program knows {Ledger.version}")
    if found.epoch != log.epoch:
        raise LedgerDoesNotFit(f"the ledger is of the log {found.epoch}, this is {log.epoch}")
    if found.position > log.head:
        raise LedgerDoesNotFit(f"the ledger has {found.position} events, the log {log.head}: events are missing there")
    await _judge_end(writer, log, found)
    try:
        await writer.run(require_consistent)
    except LedgerContradicted as error:
        raise LedgerDoesNotFit(str(error)) from error


async def _judge_end(writer: Database, log: EventLog, found: Checkpoint) -> None:
    """The last hashes of the ledger must be those of the log's records."""
    if found.position == 0:
        return
    number = (found.position - 1) // TILE_HASHES
    tile = await writer.run(partial(select_tile, level=0, number=number))
    after, last = number * TILE_HASHES, b""
    while after < found.position:
        for record in await log.read(after, found.position - after):
            last = found_hash(record)
            place = (record.position - 1) % TILE_HASHES * HASH_BYTES
            if tile[place : place + HASH_BYTES] != last:
                raise LedgerDoesNotFit(f"event {record.position} is not the one that is in the ledger")
            after = record.position
    if last != found.hash:
        raise LedgerDoesNotFit(f"event {found.position} is not the one that the ledger ended with")


def _has_tables(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'tiles'").fetchone()[0])


def _reopened(connection: sqlite3.Connection, epoch: str) -> None:
    """A new one is there, on disk, before the first event: from then on it is missed when it is gone."""
    connection.execute("DELETE FROM checkpoints WHERE name = ?", (CLOSED,))
    if select_checkpoint(connection, Ledger.name) is None:
        Ledger().create(connection)
        insert_checkpoint(connection, Checkpoint(Ledger.name, Ledger.version, epoch, 0, b""))


def _note_end(connection: sqlite3.Connection, epoch: str, head: int) -> None:
    insert_checkpoint(connection, Checkpoint(CLOSED, Ledger.version, epoch, head, b""))
