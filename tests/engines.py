"""The engines of the log as the tests use them: opened as often as a test wants, and read by somebody else."""

import asyncio
import itertools
import json
import sqlite3
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from events import jetstream_log, sqlite_log
from events.jetstream_log import JetStreamLog
from events.log import EventLog
from events.nats_settings import NatsSettings
from events.record import COLUMNS, NewEvent, RecordedEvent
from events.sqlite_log import SqliteLog
from events.store import EventStore
from tests.nats_servers import NatsServers

# Far more than anything here takes: only what hangs meets it.
WITHIN_S = 30.0

_numbers = itertools.count(1)


class Engine(ABC):
    """A log that a test can open, close and open again. One at a time has it open."""

    commits_here = True
    """Whether an append is committed by a write to the file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "events.db"

    @abstractmethod
    async def open_log(self) -> EventStore:
        """Open the log; the caller closes it."""

    @abstractmethod
    def forget(self) -> None:
        """Make the next log that is opened a new one."""

    @property
    @abstractmethod
    def queue_bytes_max(self) -> int:
        """How much may wait to be appended."""

    @abstractmethod
    def queue_events_max(self, patch: pytest.MonkeyPatch, events: int) -> None:
        """Let only so many events wait to be appended."""

    @property
    @abstractmethod
    def arguments(self) -> list[str]:
        """What ``tests/contract/writer.py`` needs to open the same log in a process of its own."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[EventStore]:
        """The log, closed at the end of the block."""
        log = await self.open_log()
        try:
            yield log
        finally:
            await log.close()


class SqliteEngine(Engine):
    """The embedded log."""

    async def open_log(self) -> EventStore:
        return await SqliteLog.open(self.file)

    def forget(self) -> None:
        self.file = self.file.with_name(f"events-{next(_numbers)}.db")

    @property
    def queue_bytes_max(self) -> int:
        return sqlite_log.QUEUE_BYTES_MAX

    def queue_events_max(self, patch: pytest.MonkeyPatch, events: int) -> None:
        patch.setattr(sqlite_log, "QUEUE_EVENTS_MAX", events)

    @property
    def arguments(self) -> list[str]:
        return ["sqlite", str(self.file)]


class JetStreamEngine(Engine):
    """The distributed log: a stream of its own on servers that run already, and a replica."""

    commits_here = False

    def __init__(self, folder: Path, servers: NatsServers) -> None:
        super().__init__(folder)
        self.servers = servers
        self.stream = f"test{next(_numbers)}"

    @property
    def settings(self) -> NatsSettings:
        """As a node would have them."""
        return NatsSettings.of_url(self.servers.url, stream=self.stream)

    async def open_log(self) -> EventStore:
        log = await JetStreamLog.open(self.file, self.settings)
        await asyncio.wait_for(log.caught_up(), WITHIN_S)
        return log

    def forget(self) -> None:
        self.file = self.file.with_name(f"events-{next(_numbers)}.db")
        self.stream = f"test{next(_numbers)}"

    @property
    def queue_bytes_max(self) -> int:
        return jetstream_log.APPENDING_BYTES_MAX

    def queue_events_max(self, patch: pytest.MonkeyPatch, events: int) -> None:
        patch.setattr(jetstream_log, "APPENDS_MAX", events)

    @property
    def arguments(self) -> list[str]:
        return [self.servers.url, str(self.file), "--stream", self.stream]


async def everything(log: EventLog) -> list[RecordedEvent]:
    """All the records that the log shows, read in its own pages."""
    records: list[RecordedEvent] = []
    while page := await log.read(len(records)):
        records += page
    return records


def found_by_another_process(file: Path) -> list[RecordedEvent]:
    """All the records that a process with nothing of ours in it finds in the file right now."""
    script = (
        "import json, sqlite3, sys\n"
        f"rows = sqlite3.connect(f'file:{{sys.argv[1]}}?mode=ro', uri=True).execute('SELECT {COLUMNS} FROM events')\n"
        "print(json.dumps([[x.hex() if isinstance(x, bytes) else x for x in row] for row in rows]))"
    )
    answer = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, check=True, text=True)
    return [from_plain(row) for row in json.loads(answer.stdout)]


def found_in(file: Path) -> list[RecordedEvent]:
    """All the records in a file that no log has open."""
    connection = sqlite3.connect(file)
    try:
        return [RecordedEvent(*row) for row in connection.execute(f"SELECT {COLUMNS} FROM events ORDER BY position")]
    finally:
        connection.close()


def from_plain(row: list[object]) -> RecordedEvent:
    """A record from JSON, where its byte strings are hexadecimal."""
    fields = dict(zip(RecordedEvent.__struct_fields__, row, strict=True))
    for name in ("command", "request", "salt"):
        value = fields[name]
        fields[name] = bytes.fromhex(value) if isinstance(value, str) else None
    return RecordedEvent(**fields)  # type: ignore[arg-type]


def creation(command: bytes | None = None, request: bytes | None = None, data: str | None = None) -> NewEvent:
    """The first event of a new note, unlike every other."""
    return NewEvent(None, "NoteCreated", 1, "ada", data or _data(), command, request=request or command)


def edit(note_id: int, command: bytes | None = None, request: bytes | None = None, data: str | None = None) -> NewEvent:
    """A later event of a note, unlike every other."""
    return NewEvent(note_id, "NoteEdited", 1, "bob", data or _data(), command, request=request or command)


def _data() -> str:
    return f'{{"title":"number {next(_numbers)}"}}'


async def soon(awaitable: "asyncio.Future[object] | asyncio.Task[object]") -> object:
    """The result of what must come; a test that would hang fails instead."""
    return await asyncio.wait_for(asyncio.shield(awaitable), WITHIN_S)
