"""The projection ``search``: the words of every note, for ``q``. It follows in large batches and never slows writes.

Deleted notes stay in it: a list joins it with the table of notes, where they are not, and a restore needs no work.
"""

import sqlite3

from events.codec import decode_payload
from events.note import Changes, NoteCreated
from events.record import RecordedEvent
from projections.projection import Projection
from projections.words import words

# detail=none: which note has a word is all that is asked, so positions and columns are not kept.
SCHEMA = """
    CREATE VIRTUAL TABLE search USING fts5 (title, description, tokenize = 'ascii', detail = none, columnsize = 0)
"""


class Search(Projection[None]):
    """The full-text table ``search``; its rowid is the note's id."""

    name = "search"
    version = 2
    tables = ("search",)

    def create(self, connection: sqlite3.Connection) -> None:
        connection.execute(SCHEMA)

    def apply(self, connection: sqlite3.Connection, records: list[RecordedEvent]) -> list[None]:
        new: dict[int, dict[str, str]] = {}
        for record in records:
            payload = decode_payload(record)
            if isinstance(payload, NoteCreated):
                new[record.note_id] = {"title": payload.title, "description": payload.description}
            elif isinstance(payload, Changes):
                texts = _texts(payload)
                if record.note_id in new:
                    new[record.note_id] |= texts
                else:
                    _update(connection, record.note_id, texts)
        connection.executemany(
            "INSERT INTO search (rowid, title, description) VALUES (?, ?, ?)",
            [(note_id, indexed(texts["title"]), indexed(texts["description"])) for note_id, texts in new.items()],
        )
        return []


def _texts(changes: Changes) -> dict[str, str]:
    return {name: text for name in ("title", "description") if isinstance(text := getattr(changes, name), str)}


def _update(connection: sqlite3.Connection, note_id: int, texts: dict[str, str]) -> None:
    for column, text in texts.items():
        connection.execute(f"UPDATE search SET {column} = ? WHERE rowid = ?", (indexed(text), note_id))


def indexed(text: str) -> str:
    """A text as the index is given it."""
    return " ".join(words(text))
