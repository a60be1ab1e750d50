"""``events.db``: opening it, and reading it. What every engine of the log shares."""

import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

from events.copies import is_copy, renew_epoch
from events.database import Database, Reader, open_reader, open_writer
from events.errors import AnotherEngine, BrokenLog, FolderError, NewerFormat, NotANotelogFile
from events.log import PAGE_BYTES_MAX, PAGE_EVENTS_MAX, EventLog
from events.record import COLUMNS, INTEGER_MAX, RecordedEvent
from events.tail import Tail
from events.watermark import Watermark

APPLICATION_ID = 0x6E6C6F67  # "nlog", sqlite.org/pragma.html#pragma_application_id
FORMAT = 1
# How many commands are looked up in one statement.
COMMANDS_MAX = 64


class EventStore(EventLog):
    """The reading half of a log whose records are in a local ``events.db``. Engines add ``append`` and ``close``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.epoch = ""
        self.on_commit = lambda events, commit_s: None
        self._head = Watermark()
        self._tail = Tail()
        self._points: Reader
        self._pages: Reader

    @property
    def head(self) -> int:
        return self._head.value

    async def wait_past(self, position: int) -> None:
        await self._head.reach(position + 1)

    async def read(self, after: int, limit: int = PAGE_EVENTS_MAX) -> list[RecordedEvent]:
        if after >= self.head:
            return []
        if (page := self._tail.page(after, limit)) is not None:
            return page
        return await self._pages.read(partial(select_page, after=after, head=self.head, limit=limit))

    async def read_stream(
        self, note_id: int, after_version: int = 0, limit: int = PAGE_EVENTS_MAX
    ) -> list[RecordedEvent]:
        return await self._pages.read(partial(select_stream, note_id=note_id, after_version=after_version, limit=limit))

    def last_of(self, note_id: int, after: int) -> int:
        if after >= self.head:
            return after
        return self._tail.last_of(note_id, after) or self.head

    async def find(self, command: bytes) -> RecordedEvent | None:
        return await self._points.read(partial(select_command, command=command))

    async def _open_writer(self) -> tuple[Database, int]:
        """Open the file for writing, making or checking it; sets the epoch, returns the connection and the head."""
        if self.epoch and not self.path.exists():
            raise BrokenLog(f"{self.path} is gone")
        try:
            database = await open_writer(self.path, synchronous="FULL", check=partial(require_ours, path=self.path))
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error
        try:
            epoch, head = await database.run(partial(_prepare, path=self.path, birth=self._birth()))
            self._require_same(epoch, head)
        except sqlite3.Error as error:
            await database.close()
            raise unusable(self.path, error) from error
        except BaseException:
            await database.close()
            raise
        self.epoch = epoch
        return database, head

    def _birth(self) -> dict[str, str]:
        """What the table ``meta`` of a new file says; a replica's also names its stream."""
        return {"epoch": secrets.token_hex(16)}

    async def _open_again(self) -> Database:
        """A new write connection after a fault: what its file holds is surely on disk, and shown."""
        database, _ = await self._open_writer()
        try:
            await database.run(_flush)
            await self._show_found(database)
        except BaseException:
            await database.close()
            raise
        return database

    async def _show_found(self, database: Database) -> None:
        """Show what is on disk and was not shown, because its commit was in doubt or who began it was cancelled."""
        while page := await database.run(
            partial(select_page, after=self.head, head=INTEGER_MAX, limit=PAGE_EVENTS_MAX)
        ):
            self._show(page)

    def _require_same(self, epoch: str, head: int) -> None:
        """A file that is opened again must be the one that was open: the folder may have been unmounted meanwhile."""
        if self.epoch and (epoch != self.epoch or head < self.head):
            raise BrokenLog(
                f"{self.path} is another log than the one that was open: expected epoch {self.epoch} and at least "
                f"{self.head} events, got epoch {epoch} and {head}"
            )

    async def _open_readers(self) -> None:
        self._points = Reader(await open_reader(self.path))
        self._pages = Reader(await open_reader(self.path))

    async def _close_readers(self) -> None:
        await self._points.close()
        await self._pages.close()

    def _show(self, records: list[RecordedEvent]) -> None:
        """Make durable records visible to everybody who follows the log."""
        if records:
            assert records[0].position == self.head + 1, f"expected {self.head + 1}, got {records[0].position}"
            self._tail.extend(records)
            self._head.raise_to(records[-1].position)


def bounded(records: Iterable[RecordedEvent]) -> list[RecordedEvent]:
    """The first of the records that fit into a page, and at least one."""
    page: list[RecordedEvent] = []
    size_bytes = 0
    for record in records:
        size_bytes += record.size_bytes
        if page and size_bytes > PAGE_BYTES_MAX:
            break
        page.append(record)
    return page


def select_page(connection: sqlite3.Connection, after: int, head: int, limit: int) -> list[RecordedEvent]:
    """A page after a position, never past ``head``: what is not yet known to be durable is not shown."""
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM events WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
        (after, head, limit),
    )
    return bounded(RecordedEvent(*row) for row in rows)


def select_stream(connection: sqlite3.Connection, note_id: int, after_version: int, limit: int) -> list[RecordedEvent]:
    """A page of one note's events."""
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM events WHERE note_id = ? AND version > ? ORDER BY version LIMIT ?",
        (note_id, after_version, limit),
    )
    return bounded(RecordedEvent(*row) for row in rows)


def select_command(connection: sqlite3.Connection, command: bytes, part: int = 0) -> RecordedEvent | None:
    """The record of a command."""
    row = connection.execute(f"SELECT {COLUMNS} FROM events WHERE command = ? AND part = ?", (command, part)).fetchone()
    return RecordedEvent(*row) if row else None


def select_commands(connection: sqlite3.Connection, commands: Sequence[bytes]) -> Iterator[RecordedEvent]:
    """The records of many commands, in a few statements: each alone would give the interpreter's lock away."""
    for start in range(0, len(commands), COMMANDS_MAX):
        some = commands[start : start + COMMANDS_MAX]
        places = 1 << (len(some) - 1).bit_length()  # a power of two: few statements are prepared, NULL is no command
        wanted = f"SELECT {COLUMNS} FROM events WHERE command IN ({', '.join('?' * places)})"
        for row in connection.execute(wanted, [*some, *[None] * (places - len(some))]):
            yield RecordedEvent(*row)


def select_head(connection: sqlite3.Connection) -> int:
    """The last position, 0 in an empty log."""
    return int(connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()[0])


def require_ours(connection: sqlite3.Connection, path: Path) -> None:
    """The file is empty, or a log that this version can read. Raises ``NotANotelogFile``, ``NewerFormat``."""
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    format_ = connection.execute("PRAGMA user_version").fetchone()[0]
    if not is_empty(connection) and application_id != APPLICATION_ID:
        raise NotANotelogFile(str(path), f"its application_id is {application_id:#x}")
    if format_ > FORMAT:
        raise NewerFormat(str(path), format_, FORMAT)


def _prepare(connection: sqlite3.Connection, path: Path, birth: dict[str, str]) -> tuple[str, int]:
    """Make an empty file a log, and a copy another log; returns the log's epoch and head."""
    if is_empty(connection):
        create_log(connection, birth)
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    if "epoch" not in meta:
        raise BrokenLog(f"{path} has no epoch: its table meta was changed")
    if ("stream" in meta) != ("stream" in birth):
        raise AnotherEngine(str(path), is_replica="stream" in meta)
    # The copy of a replica is one more replica of the same stream.
    renewed = is_copy(connection) and "stream" not in meta
    return renew_epoch(connection) if renewed else meta["epoch"], select_head(connection)


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether nothing was ever made in the file: a start that was killed leaves one like that."""
    return not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def create_log(connection: sqlite3.Connection, birth: dict[str, str]) -> None:
    """Lay the schema in one transaction: a start that is killed here leaves an empty file, not half a log."""
    values = {**birth, "created": str(time.time_ns() // 1000)}
    connection.executescript(f"BEGIN IMMEDIATE; {files('events').joinpath('schema.sql').read_text()}")
    connection.executemany("INSERT INTO meta VALUES (?, ?)", values.items())
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def _flush(connection: sqlite3.Connection) -> None:
    """Move all of the WAL into the file, with its fsync, and start a new WAL.

    After an fsync that failed the kernel may call pages clean that are not on disk, and later frames of the same WAL
    would stand on them. Copied into the file and synced, nothing stands on them any more.
    """
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise sqlite3.OperationalError("a reader holds the write-ahead log; trying again")


def unusable(path: Path, error: sqlite3.Error) -> FolderError:
    """What an operator must do differs: for another file give another folder, for a sick disk heal it."""
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return NotANotelogFile(str(path), str(error))
    return FolderError(f"{path} cannot be opened: {error}")
