"""The projection ``versions``: every version of every note, whole, valid from its position to the next one's.

A note or a list as it was at a position is then one query, and a history is the versions of a note side by side. Rows
have the columns of the table ``notes`` under the same names, so that lists of now and lists of then are one query too.
"""

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

from events.codec import decode
from events.note import INTEGER_MAX, Note, evolve
from events.record import RecordedEvent
from events.timestamps import microseconds
from projections.notes import decode_note, encoder
from projections.projection import Projection

# How long the last version of a note is valid.
FOREVER = INTEGER_MAX
# How many positions share a row in ``moments``: small enough to be looked through, large enough to be few.
MOMENT_POSITIONS = 1024

SCHEMA = (
    """
    CREATE TABLE versions (
        position   INTEGER PRIMARY KEY,  -- of the event: from here on the note was so
        ended      INTEGER NOT NULL,     -- the position of the note's next event
        id         INTEGER NOT NULL,     -- of the note
        version    INTEGER NOT NULL,
        type       TEXT    NOT NULL,     -- of the event
        actor      TEXT    NOT NULL,
        deleted    INTEGER NOT NULL,     -- 1: the event is the note's deletion
        title      TEXT    NOT NULL,
        created_at INTEGER NOT NULL,     -- microseconds since 1970 UTC
        updated_at TEXT    NOT NULL,     -- when the event was recorded: RFC 3339 with six digits
        created_by TEXT    NOT NULL,
        priority   INTEGER NOT NULL,
        body       TEXT    NOT NULL,     -- the note as JSON
        UNIQUE (id, version)
    ) STRICT
    """,
    # Clocks go back, so times are not in the order of positions; the earliest of each block tells where to look.
    """
    CREATE TABLE moments (
        block      INTEGER PRIMARY KEY,  -- positions from block * 1024 + 1 to (block + 1) * 1024
        earliest   TEXT    NOT NULL      -- of their times
    ) STRICT
    """,
)
COLUMNS = (
    "position, ended, id, version, type, actor, deleted, title, created_at, updated_at, created_by, priority, body"
)
INSERT = f"INSERT INTO versions ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
UPSERT_MOMENT = """
    INSERT INTO moments (block, earliest) VALUES (?, ?)
    ON CONFLICT (block) DO UPDATE SET earliest = min(earliest, excluded.earliest)
"""


Rows = Callable[[str, tuple[Any, ...]], Iterable[Any]]


class Versions(Projection[None]):
    """The tables ``versions`` and ``moments``."""

    name = "versions"
    version = 1
    tables = ("versions", "moments")

    def create(self, connection: sqlite3.Connection) -> None:
        for statement in SCHEMA:
            connection.execute(statement)

    def apply(self, connection: sqlite3.Connection, records: list[RecordedEvent]) -> list[None]:
        latest = _load(connection, records)
        ended: list[tuple[int, int]] = []
        rows: dict[int, list[Any]] = {}
        for record in records:
            before = latest.get(record.note_id)
            after = latest[record.note_id] = evolve(before, decode(record))
            rows[after.position] = row(record, after)
            if before is None:
                continue
            if before.position in rows:
                rows[before.position][1] = after.position
            else:
                ended.append((after.position, before.position))
        connection.executemany("UPDATE versions SET ended = ? WHERE position = ?", ended)
        connection.executemany(INSERT, rows.values())
        connection.executemany(UPSERT_MOMENT, _moments(rows))
        return []


def row(record: RecordedEvent, note: Note) -> list[Any]:
    """The columns of a version that no other has followed yet. ``note``: as the event at ``record`` has left it."""
    return [
        note.position,
        FOREVER,
        note.id,
        note.version,
        record.type,
        record.actor,
        note.deleted,
        note.title,
        microseconds(note.created_at),
        note.updated_at,
        note.created_by,
        note.priority,
        encoder.encode(note).decode(),
    ]


def block_of(position: int) -> int:
    """The block of ``moments`` that a position is in."""
    return (position - 1) // MOMENT_POSITIONS


def select_latest(rows: Rows, records: Iterable[RecordedEvent]) -> list[tuple[int, str]]:
    """Position and body of the versions that came before the records. ``rows``: how to ask."""
    wanted = sorted((record.note_id, record.version - 1) for record in records if record.version > 1)
    if not wanted:
        return []
    found = rows(
        "SELECT position, body FROM json_each(?) wanted JOIN versions"
        " ON versions.id = json_extract(wanted.value, '$[0]') AND version = json_extract(wanted.value, '$[1]')",
        (encoder.encode(wanted).decode(),),
    )
    return list(found)


def first_of_each(records: Iterable[RecordedEvent]) -> list[RecordedEvent]:
    """Of each note the first record."""
    first: dict[int, RecordedEvent] = {}
    for record in records:
        first.setdefault(record.note_id, record)
    return list(first.values())


def _load(connection: sqlite3.Connection, records: list[RecordedEvent]) -> dict[int, Note]:
    """The notes as they were before the records."""
    notes = (decode_note(body) for _, body in select_latest(connection.execute, first_of_each(records)))
    return {note.id: note for note in notes}


def _moments(rows: dict[int, list[Any]]) -> list[tuple[int, str]]:
    earliest: dict[int, str] = {}
    for position, (*_, updated_at, _, _, _) in rows.items():
        block = block_of(position)
        earliest[block] = min(updated_at, earliest.get(block, updated_at))
    return list(earliest.items())
