"""The questions about the past that the table ``versions`` answers. Functions of a connection, for one hop."""

import sqlite3
from functools import partial
from typing import Any

from msgspec import Struct

from events.log import PAGE_BYTES_MAX
from events.note import CONTENT, Note
from projections.lists import Key, NoteList, Selection, select_list
from projections.notes import NoteRow, decode_note
from projections.tables import Tables
from projections.versions import MOMENT_POSITIONS

HISTORY_VERSIONS_MAX = 1000


class HistoryEntry(Struct, frozen=True):
    """What one event did to a note. ``changes``: field → the old value and the new one."""

    position: int
    version: int
    type: str
    at: str
    actor: str
    changes: dict[str, tuple[Any, Any]]


class HistoryPage(Struct, frozen=True):
    """Versions of one note, oldest first. ``more``: the page ended because it was full."""

    history: list[HistoryEntry]
    more: bool


class Past:
    """What the service asks of the versions. Its reads may be long, so they have a connection to themselves."""

    def __init__(self, tables: Tables) -> None:
        self._reader = tables.past

    async def version(self, note_id: int, version: int) -> NoteRow | None:
        """The note as that version, or None where there is none such."""
        return await self._reader.read(partial(select_version, note_id=note_id, version=version))

    async def note(self, note_id: int, as_of: int) -> NoteRow | None:
        """The note, or its tombstone, as it was at a position; None where there was none yet."""
        return await self._reader.read(partial(select_as_of, note_id=note_id, as_of=as_of))

    async def list(self, selection: Selection, after: Key | None, limit: int, counted: bool) -> NoteList:
        """A page of the notes that were selected at ``selection.as_of``, after the key of the page before."""
        query = partial(select_list, selection=selection, after=after, limit=limit, counted=counted)
        return await self._reader.read(query)

    async def history(self, note_id: int, after: int, limit: int) -> HistoryPage | None:
        """The versions of a note after one of them; None where there never was such a note."""
        return await self._reader.read(partial(select_history, note_id=note_id, after=after, limit=limit))

    async def position_at(self, time: str) -> int:
        """The last position whose time is not after ``time`` (RFC 3339 with six digits); 0 if all are."""
        return await self._reader.read(partial(select_position_at, time=time))


def select_version(connection: sqlite3.Connection, note_id: int, version: int) -> NoteRow | None:
    """One version of a note, which may be its deletion."""
    row = connection.execute(
        "SELECT id, position, version, deleted, body FROM versions WHERE id = ? AND version = ?", (note_id, version)
    ).fetchone()
    return NoteRow(*row) if row else None


def select_as_of(connection: sqlite3.Connection, note_id: int, as_of: int) -> NoteRow | None:
    """The version of a note that was valid at a position, which may be its deletion."""
    row = connection.execute(
        "SELECT id, position, version, deleted, body FROM versions"
        " WHERE id = ? AND position <= ? ORDER BY version DESC LIMIT 1",
        (note_id, as_of),
    ).fetchone()
    return NoteRow(*row) if row else None


def select_history(connection: sqlite3.Connection, note_id: int, after: int, limit: int) -> HistoryPage | None:
    """A page of a note's versions; each is told apart from the one before it."""
    rows = connection.execute(
        "SELECT type, actor, body FROM versions WHERE id = ? AND version >= ? ORDER BY version", (note_id, after)
    )
    entries: list[HistoryEntry] = []
    before: Note | None = None
    size_bytes = 0
    for type_, actor, body in rows:
        note = decode_note(body)
        if note.version > after:
            size_bytes += 2 * len(body)
            if entries and (len(entries) == limit or size_bytes > PAGE_BYTES_MAX):
                return HistoryPage(entries, more=True)
            changes = differences(before, note)
            entries.append(HistoryEntry(note.position, note.version, type_, note.updated_at, actor, changes))
        before = note
    return HistoryPage(entries, more=False) if before or _exists(connection, note_id) else None


def differences(before: Note | None, after: Note) -> dict[str, tuple[Any, Any]]:
    """The fields in which two versions differ, with both values; of the first version all of them, with None."""
    if before is None:
        return {name: (None, getattr(after, name)) for name in CONTENT}
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in CONTENT}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def select_position_at(connection: sqlite3.Connection, time: str) -> int:
    """The last position whose time is not after ``time``. Clocks go back: earlier positions may have later times."""
    (block,) = connection.execute("SELECT max(block) FROM moments WHERE earliest <= ?", (time,)).fetchone()
    if block is None:
        return 0
    first = block * MOMENT_POSITIONS + 1
    (position,) = connection.execute(
        "SELECT max(position) FROM versions WHERE position BETWEEN ? AND ? AND updated_at <= ?",
        (first, first + MOMENT_POSITIONS - 1, time),
    ).fetchone()
    return int(position)


def _exists(connection: sqlite3.Connection, note_id: int) -> bool:
    return connection.execute("SELECT 1 FROM versions WHERE id = ? LIMIT 1", (note_id,)).fetchone() is not None
