"""The questions that the table ``notes`` answers. Functions of a connection, to be run in one hop with others."""

import sqlite3
from collections.abc import Iterator
from functools import partial

import msgspec

from projections.tables import Tables

PAGE_NOTES_MAX = 1000
# Two of the largest notes fit; a page of ordinary ones is never cut.
PAGE_BYTES_MAX = 1024 * 1024


class NoteRow(msgspec.Struct, frozen=True, gc=False):
    """A note as the table has it; ``body`` is its JSON."""

    id: int
    position: int
    version: int
    deleted: bool
    body: str


class NotePage(msgspec.Struct, frozen=True):
    """Notes in the order asked for. ``more``: the page ended because it was full."""

    notes: list[NoteRow]
    more: bool


class ChangePage(msgspec.Struct, frozen=True):
    """Notes by the position of their last change, all after some position up to ``position``."""

    notes: list[NoteRow]
    position: int


class Queries:
    """What the service asks of the notes."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def note(self, note_id: int) -> NoteRow | None:
        """The note, or its tombstone, or None where there never was one."""
        return await self._tables.points.read(partial(select_note, note_id=note_id))

    async def notes_by_id(self, after: int, limit: int) -> NotePage:
        """The notes with an id above ``after``, in the order of ids."""
        return await self._tables.pages.read(partial(select_notes_by_id, after=after, limit=limit))

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


def select_notes_by_id(connection: sqlite3.Connection, after: int, limit: int) -> NotePage:
    """A page of notes in the order of ids."""
    rows = connection.execute(
        "SELECT id, position, version, 0, body FROM notes WHERE id > ? ORDER BY id LIMIT ?", (after, limit + 1)
    )
    return _page(rows, limit)


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
    page = _page(rows, limit)
    return ChangePage(page.notes, page.notes[-1].position if page.more else max(checkpoint, after))


def _page(rows: Iterator[tuple[int, int, int, bool, str]], limit: int) -> NotePage:
    """The rows that fit into a page, at least one, and whether there was another."""
    notes: list[NoteRow] = []
    size_bytes = 0
    for row in rows:
        note = NoteRow(*row)
        size_bytes += len(note.body)
        if notes and (len(notes) == limit or size_bytes > PAGE_BYTES_MAX):
            return NotePage(notes, more=True)
        notes.append(note)
    return NotePage(notes, more=False)
