"""The questions that the table ``notes`` answers. Functions of a connection, to be run in one hop with others."""

import sqlite3
from collections.abc import Awaitable
from functools import partial

import msgspec

from events.log import PAGE_BYTES_MAX
from projections.lists import Key, NoteList, Selection, select_list
from projections.notes import NoteRow
from projections.tables import Tables

PAGE_NOTES_MAX = 1000


class ChangePage(msgspec.Struct, frozen=True):
    """Notes by the position of their last change, all after some position up to ``position``."""

    notes: list[NoteRow]
    position: int


class Queries:
    """What the service asks of the notes."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def note(self, note_id: int) -> Awaitable[NoteRow | None]:
        """The note, or its tombstone, or None where there never was one."""
        return self._tables.points.read(partial(select_note, note_id=note_id))

    async def list(self, selection: Selection, after: Key | None, limit: int, counted: bool) -> NoteList:
        """A page of the notes that are selected, after the key of the page before."""
        query = partial(select_list, selection=selection, after=after, limit=limit, counted=counted)
        return await self._tables.pages.read(query)

    async def changes(self, after: int, limit: int = PAGE_NOTES_MAX) -> ChangePage:
        """The notes and tombstones whose last change is after a position, in the order of those changes.

        Rows and checkpoint are of one snapshot: a page that is not full reaches to that checkpoint.
        """
        return await self._tables.pages.read(partial(select_changes, after=after, limit=limit))


def select_note(connection: sqlite3.Connection, note_id: int) -> NoteRow | None:
    """One note by id, with a deleted one as its tombstone."""
    row = connection.execute("SELECT id, position, version, 0, body FROM notes WHERE id = ?", (note_id,)).fetchone()
    if row is None:
        row = connection.execute(
            "SELECT id, position, version, 1, body FROM tombstones WHERE id = ?", (note_id,)
        ).fetchone()
    return NoteRow(*row) if row else None


def select_changes(connection: sqlite3.Connection, after: int, limit: int) -> ChangePage:
    """A page of notes in the order of their last changes."""
    (checkpoint,) = connection.execute("SELECT position FROM checkpoints WHERE name = 'notes'").fetchone()
    rows = connection.execute(
        """
        SELECT id, position, version, 0, body FROM notes WHERE position > ?1
        UNION ALL SELECT id, position, version, 1, body FROM tombstones WHERE position > ?1
        ORDER BY position LIMIT ?2
        """,
        (after, limit + 1),
    )
    notes: list[NoteRow] = []
    size_bytes = 0
    for row in rows:
        note = NoteRow(*row)
        size_bytes += len(note.body)
        if len(notes) == limit or (notes and size_bytes > PAGE_BYTES_MAX):
            return ChangePage(notes, notes[-1].position)
        notes.append(note)
    return ChangePage(notes, max(checkpoint, after))
