"""The replica: a node's own ``events.db``, written from the messages of the stream that all nodes share.

A message is an event as a node has published it. What the log gives an event is not in it but follows from the
message's place, so that every node comes to the same: the position is the sequence in the stream, the version is one
more than the note's last, and note n is the n-th stream of messages that began. A command that two nodes used at the
same moment for two different requests is in the stream twice; the first one has it as part 0, the second as part 1.
"""

import sqlite3
from collections.abc import Sequence

import msgspec
from msgspec.structs import astuple

from events.batch import INSERT
from events.errors import BrokenLog
from events.record import COLUMNS, NewEvent, RecordedEvent
from events.store import select_command, select_head


class Message(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An event in the stream, format 1. ``note_id`` None: it begins a note. Fields are only ever added, at the end."""

    note_id: int | None
    type: str
    schema: int
    at: int
    actor: str
    command: bytes | None
    request: bytes | None
    meta: str
    salt: bytes
    data: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


class Received(msgspec.Struct, frozen=True, gc=False):
    """A message at its place in the stream."""

    position: int
    payload: bytes


def encode(event: NewEvent, at: int, salt: bytes) -> bytes:
    """The message of a new event."""
    return _encode(event.note_id, event, at, salt)


def encode_record(record: RecordedEvent) -> bytes:
    """The message that the record is made of, where it stands in a log."""
    return _encode(None if record.version == 1 else record.note_id, record, record.at, record.salt)


def _encode(note_id: int | None, event: NewEvent | RecordedEvent, at: int, salt: bytes) -> bytes:
    return _encoder.encode(
        Message(
            note_id,
            event.type,
            event.schema,
            at,
            event.actor,
            event.command,
            event.request,
            event.meta,
            salt,
            event.data,
        )
    )


def decode(received: Received) -> Message:
    """The message. Raises ``BrokenLog`` for what no node has written."""
    try:
        return _decoder.decode(received.payload)
    except msgspec.DecodeError as error:
        raise BrokenLog(f"message {received.position} of the stream is no event: {error}") from error


def token(event: NewEvent, salt: bytes) -> str:
    """What the subject of a new note ends with: its command, so that a retry meets its own subject for ever."""
    return (event.command or salt).hex()


def write(connection: sqlite3.Connection, messages: Sequence[Received]) -> list[RecordedEvent]:
    """Write the messages that come next in one transaction, on disk when it returns; those already there are dropped.

    Raises ``Hole`` when one is missing between, ``BrokenLog`` when one cannot be, ``sqlite3.Error``.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        writing = _Writing(connection)
        records = [writing.record(message) for message in messages if message.position > writing.begun]
        connection.executemany(INSERT, [astuple(record) for record in records])
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return records


class Hole(Exception):
    """A message is missing between what the replica has and what came."""


class _Writing:
    """Gives messages what follows from their place, in one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.begun = self._head = select_head(connection)
        self._connection = connection
        self._last_note_id = connection.execute("SELECT coalesce(max(note_id), 0) FROM events").fetchone()[0]
        self._versions: dict[int, int] = {}
        self._parts: dict[bytes, int] = {}

    def record(self, received: Received) -> RecordedEvent:
        """The record of the message that comes next."""
        if received.position != self._head + 1:
            raise Hole(f"expected position {self._head + 1} of the stream, got {received.position}")
        self._head += 1
        message = decode(received)
        note_id, version = self._place(message)
        return RecordedEvent(
            received.position,
            note_id,
            version,
            message.type,
            message.schema,
            message.at,
            message.actor,
            message.command,
            self._part(message.command),
            message.request,
            message.meta,
            message.salt,
            message.data,
        )

    def _place(self, message: Message) -> tuple[int, int]:
        if message.note_id is None:
            note_id, version = self._last_note_id + 1, 0
            self._last_note_id = note_id
        else:
            note_id = message.note_id
            version = self._versions.get(note_id) or select_version(self._connection, note_id)
            if version == 0:
                raise BrokenLog(f"message {self._head} of the stream changes note {note_id}, which is not there")
        self._versions[note_id] = version + 1
        return note_id, version + 1

    def _part(self, command: bytes | None) -> int:
        """0, unless the command is in the log already."""
        if command is None:
            return 0
        part = self._parts[command] if command in self._parts else select_parts(self._connection, command)
        self._parts[command] = part + 1
        return part


class Judgement(msgspec.Struct, frozen=True):
    """What the replica knows about an event that is to be published.

    ``first``: the record of its command; ``own``: the event itself, which an earlier try has recorded;
    ``last``: position of the note's last event, 0 without one; ``token``: the end of the note's subject.
    """

    first: RecordedEvent | None
    own: RecordedEvent | None
    last: int
    token: str | None


def judge(connection: sqlite3.Connection, event: NewEvent, salt: bytes, after: int) -> Judgement:
    """Look everything up in one hop. ``after``: where the log stood before the first try."""
    first = select_command(connection, event.command) if event.command else None
    own = connection.execute(f"SELECT {COLUMNS} FROM events WHERE position > ? AND salt = ?", (after, salt)).fetchone()
    last, token_ = (0, token(event, salt)) if event.note_id is None else _note(connection, event.note_id)
    return Judgement(first, RecordedEvent(*own) if own else None, last, token_)


def _note(connection: sqlite3.Connection, note_id: int) -> tuple[int, str | None]:
    """Position of the note's last event, and the token of its subject; 0 and None where there is no note."""
    last = connection.execute(
        "SELECT position FROM events WHERE note_id = ? ORDER BY version DESC LIMIT 1", (note_id,)
    ).fetchone()
    if last is None:
        return 0, None
    command, salt = connection.execute(
        "SELECT command, salt FROM events WHERE note_id = ? AND version = 1", (note_id,)
    ).fetchone()
    return last[0], (command or salt).hex()


def select_version(connection: sqlite3.Connection, note_id: int) -> int:
    """The last version of a note, 0 where there is none."""
    row = connection.execute("SELECT coalesce(max(version), 0) FROM events WHERE note_id = ?", (note_id,)).fetchone()
    return int(row[0])


def select_parts(connection: sqlite3.Connection, command: bytes) -> int:
    """How many events of a command there are."""
    row = connection.execute("SELECT coalesce(max(part) + 1, 0) FROM events WHERE command = ?", (command,)).fetchone()
    return int(row[0])
