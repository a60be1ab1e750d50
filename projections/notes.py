"""The projection ``notes``: every note as it is now, and a tombstone for each that was deleted.

A row has what lists are sorted and filtered by, and the note's JSON as it is answered: encoded once, here. Rows carry
the position of their last change, so "what changed after P" is one query (see ``queries.select_changes``).
"""

import sqlite3

import msgspec

from events.codec import decode
from events.note import Note, evolve
from events.record import RecordedEvent
from events.timestamps import microseconds
from projections.projection import Projection

SCHEMA = (
    """
    CREATE TABLE notes (
        id         INTEGER PRIMARY KEY,
        position   INTEGER NOT NULL,  -- of its last change
        version    INTEGER NOT NULL,
        title      TEXT    NOT NULL,
        created_at INTEGER NOT NULL,  -- microseconds since 1970 UTC
        updated_at TEXT    NOT NULL,  -- RFC 3339 with six digits: sorts as it stands
        created_by TEXT    NOT NULL,
        priority   INTEGER NOT NULL,
        body       TEXT    NOT NULL   -- the note as JSON
    ) STRICT
    """,
    """
    CREATE TABLE tombstones (
        id         INTEGER PRIMARY KEY,
        position   INTEGER NOT NULL,  -- of its deletion
        version    INTEGER NOT NULL,
        body       TEXT    NOT NULL   -- the note as JSON, with deleted_at
    ) STRICT
    """,
)
INDEXES = (
    "CREATE UNIQUE INDEX IF NOT EXISTS notes_by_position ON notes (position)",
    "CREATE INDEX IF NOT EXISTS notes_by_priority ON notes (priority)",
    "CREATE INDEX IF NOT EXISTS notes_by_title ON notes (title)",
    "CREATE UNIQUE INDEX IF NOT EXISTS tombstones_by_position ON tombstones (position)",
)
UPSERT = """
    INSERT INTO notes (id, position, version, title, created_at, updated_at, created_by, priority, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET
        position = excluded.position, version = excluded.version, title = excluded.title,
        created_at = excluded.created_at, updated_at = excluded.updated_at, created_by = excluded.created_by,
        priority = excluded.priority, body = excluded.body
"""

encoder = msgspec.json.Encoder()
decode_note = msgspec.json.Decoder(Note).decode


class NoteRow(msgspec.Struct, frozen=True, gc=False):
    """A note as the table has it; ``body`` is its JSON."""

    id: int
    position: int
    version: int
    deleted: bool
    body: str


class NoteChange(msgspec.Struct, frozen=True, gc=False):
    """What one event did to a note. ``before`` is None for a note that was not there at all."""

    before: Note | None
    after: Note

    @property
    def position(self) -> int:
        """The event's place in the log."""
        return self.after.position


class Notes(Projection[NoteChange]):
    """The tables ``notes`` and ``tombstones``."""

    name = "notes"
    version = 2
    tables = ("notes", "tombstones")

    def create(self, connection: sqlite3.Connection) -> None:
        for statement in SCHEMA:
            connection.execute(statement)

    def index(self, connection: sqlite3.Connection) -> None:
        for statement in INDEXES:
            connection.execute(statement)

    def apply(self, connection: sqlite3.Connection, records: list[RecordedEvent]) -> list[NoteChange]:
        notes = _load(connection, {record.note_id for record in records if record.version > 1})
        found = dict(notes)
        changes = []
        for record in records:
            before = notes.get(record.note_id)
            after = notes[record.note_id] = evolve(before, decode(record))
            changes.append(NoteChange(before, after))
        _save(connection, found, [notes[note_id] for note_id in {record.note_id for record in records}])
        return changes


def _load(connection: sqlite3.Connection, note_ids: set[int]) -> dict[int, Note]:
    """The notes and tombstones with these ids."""
    if not note_ids:
        return {}
    wanted = encoder.encode(sorted(note_ids)).decode()
    rows = connection.execute(
        """
        SELECT body FROM notes WHERE id IN (SELECT value FROM json_each(?1))
        UNION ALL SELECT body FROM tombstones WHERE id IN (SELECT value FROM json_each(?1))
        """,
        (wanted,),
    )
    notes = (decode_note(body) for (body,) in rows)
    return {note.id: note for note in notes}


def _save(connection: sqlite3.Connection, found: dict[int, Note], notes: list[Note]) -> None:
    """Write each note once, however often it changed in the page."""
    living = [note for note in notes if not note.deleted]
    deleted = [note for note in notes if note.deleted]
    risen = [(note.id,) for note in living if note.id in found and found[note.id].deleted]
    connection.executemany("DELETE FROM tombstones WHERE id = ?", risen)
    connection.executemany(UPSERT, [row(note) for note in living])
    connection.executemany("DELETE FROM notes WHERE id = ?", [(note.id,) for note in deleted])
    connection.executemany(
        "INSERT OR REPLACE INTO tombstones (id, position, version, body) VALUES (?, ?, ?, ?)",
        [(note.id, note.position, note.version, encoder.encode(note).decode()) for note in deleted],
    )


def row(note: Note) -> tuple[object, ...]:
    """The columns of the table ``notes``."""
    return (
        note.id,
        note.position,
        note.version,
        note.title,
        microseconds(note.created_at),
        note.updated_at,
        note.created_by,
        note.priority,
        encoder.encode(note).decode(),
    )
