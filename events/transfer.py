"""The log as NDJSON, each record whole, and back into an empty folder, position for position.

Everything that is hashed is in a line: with docs/EVENTS.md a stranger can compute each leaf again. Byte strings are
hexadecimal, ``meta`` and ``data`` are texts within the JSON, exactly as they were first written.
"""

import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from events.admission import require_admissible
from events.batch import INSERT
from events.codec import decode_payload
from events.copies import Parent, note_parent
from events.errors import EventError, NotelogError
from events.folder import sync
from events.note import NoteCreated, NoteDeleted, NoteRestored
from events.record import RecordedEvent
from events.store import create_log, is_empty, require_ours, select_head, unusable

# A payload of 1 MiB, escaped twice. A longer line is none of ours.
LINE_BYTES_MAX = 8 * 1024 * 1024
# One transaction of an import.
PAGE_RECORDS = 1000
SUFFIX = ".new"


class ExportedRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """A line. ``epoch``: of the log that it was exported from."""

    position: int
    note_id: int
    version: int
    type: str
    schema: int
    at: int
    actor: str
    command: str | None
    part: int
    request: str | None
    meta: str
    salt: str
    data: str
    epoch: str


class NotImportable(NotelogError):
    """A line does not fit: nothing was imported."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}; nothing was imported")
        self.line, self.why = line, why


class NotEmpty(NotelogError):
    """There are events already where an import should go."""

    def __init__(self, where: Path | str, head: int) -> None:
        super().__init__(f"{where} has {head} events already; an import needs an empty log")


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ExportedRecord)


def exported(record: RecordedEvent, epoch: str) -> bytes:
    """The record as a line, without its end."""
    return _encoder.encode(
        ExportedRecord(
            record.position,
            record.note_id,
            record.version,
            record.type,
            record.schema,
            record.at,
            record.actor,
            _hex(record.command),
            record.part,
            _hex(record.request),
            record.meta,
            record.salt.hex(),
            record.data,
            epoch,
        )
    )


def import_log(lines: Iterable[bytes], path: Path, progress: Callable[[int], None] = lambda position: None) -> Parent:
    """Make a log of the lines at ``path``, where there must be none, or an empty one. Returns which log it was.

    It is made beside and renamed when it is whole and on disk: whatever happens before, nothing has happened.
    Raises ``NotImportable``, ``NotEmpty``, and ``FolderError`` for a file that is something else or cannot be read.
    """
    _require_empty(path)
    beside = path.with_name(path.name + SUFFIX)
    _discard(beside)
    connection = sqlite3.connect(beside, isolation_level=None)
    try:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE"):
            connection.execute(f"PRAGMA {pragma}")
        create_log(connection, {"epoch": secrets.token_hex(16)})
        parent = _write(connection, lines, progress)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
        sync(beside)
        _discard(path)
        for suffix in ("-wal", "-shm"):
            beside.with_name(beside.name + suffix).unlink(missing_ok=True)
        beside.rename(path)
        sync(path.parent)
    except BaseException:
        connection.close()
        _discard(beside)
        raise
    return parent


def _write(connection: sqlite3.Connection, lines: Iterable[bytes], progress: Callable[[int], None]) -> Parent:
    reading = _Reading()
    connection.execute("BEGIN")
    for page in _pages(reading.records(lines)):
        try:
            connection.executemany(INSERT, [astuple(record) for record in page])
        except sqlite3.Error as error:
            raise NotImportable(select_head(connection) + 1, str(error)) from error
        progress(page[-1].position)
    parent = Parent(reading.epoch, reading.line)
    if reading.line:
        note_parent(connection, parent)
    connection.execute("COMMIT")
    return parent


class _Reading:
    """Lines on their way to records; each is held to what can follow on those before it."""

    def __init__(self) -> None:
        self.line = 0
        self.epoch = ""
        self._notes = 0
        self._deleted: set[int] = set()

    def records(self, lines: Iterable[bytes]) -> Iterator[RecordedEvent]:
        """The record of each line. Raises ``NotImportable``."""
        for self.line, line in enumerate(lines, 1):
            try:
                record = self._record(line)
                self._require_sense(record)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, EventError) as error:
                raise NotImportable(self.line, str(error)) from error
            yield record

    def _record(self, line: bytes) -> RecordedEvent:
        if len(line) > LINE_BYTES_MAX:
            raise ValueError(f"expected at most {LINE_BYTES_MAX} bytes")
        given = _decoder.decode(line)
        if given.position != self.line:
            raise ValueError(f"expected position {self.line}, got {given.position}")
        if self.line > 1 and given.epoch != self.epoch:
            raise ValueError(f"expected a record of the log {self.epoch}, got one of {given.epoch}")
        self.epoch = given.epoch
        fields = msgspec.structs.asdict(given)
        del fields["epoch"]
        for name in ("command", "request", "salt"):
            fields[name] = None if fields[name] is None else bytes.fromhex(fields[name])
        return RecordedEvent(**fields)

    def _require_sense(self, record: RecordedEvent) -> None:
        """A projection must not stop at what was imported: each event must be able to follow on those before it."""
        payload = decode_payload(record)
        require_admissible(record, payload)
        note_id = record.note_id
        if isinstance(payload, NoteCreated):
            if (note_id, record.version) != (self._notes + 1, 1):
                raise ValueError(f"expected the creation of note {self._notes + 1}, got one of {note_id}")
            self._notes += 1
        elif not 0 < note_id <= self._notes:
            raise ValueError(f"note {note_id} was not created before")
        elif (note_id in self._deleted) != isinstance(payload, NoteRestored):
            raise ValueError(f"{record.type} does not fit whether note {note_id} is deleted")
        if isinstance(payload, NoteDeleted):
            self._deleted.add(note_id)
        else:
            self._deleted.discard(note_id)


def _pages(records: Iterator[RecordedEvent]) -> Iterator[list[RecordedEvent]]:
    page: list[RecordedEvent] = []
    for record in records:
        page.append(record)
        if len(page) == PAGE_RECORDS:
            yield page
            page = []
    if page:
        yield page


def _require_empty(path: Path) -> None:
    """What is at ``path`` is replaced: it must be a log without an event, and that must be known for sure."""
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            require_ours(connection, path)
            head = 0 if is_empty(connection) else select_head(connection)
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    if head:
        raise NotEmpty(path, head)


def _discard(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
