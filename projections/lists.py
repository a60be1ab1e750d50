"""Lists of notes: which order and filter is served by which index, page after page by key.

A page goes on after the key of the last note of the page before (its sort value and its id), so it costs the same
wherever it is in the list, and a note that was on one page is not on the next, whatever is written in between.
"""

import sqlite3
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, Literal

import msgspec

from events.log import PAGE_BYTES_MAX
from projections.notes import NoteRow, decode_note
from projections.words import expression, matches

SortField = Literal["id", "priority", "title", "created_at", "updated_at"]
# The order of the last changes is the order of their positions; that serves updated_at without an index of its own.
COLUMNS: dict[SortField, str] = {
    "id": "id",
    "priority": "priority",
    "title": "title",
    "created_at": "created_at",
    "updated_at": "position",
}
UNIQUE = ("id", "position")
INDEXED = ("priority", "title")
Key = list[str | int]


class Selection(msgspec.Struct, frozen=True):
    """Which notes, in which order. ``words``: see ``projections.words``; empty for no search.

    ``as_of``: at which position; None: now. The past cannot be searched for words.
    """

    sort: SortField = "id"
    descending: bool = False
    created_by: str | None = None
    priority: int | None = None
    priority_min: int | None = None
    priority_max: int | None = None
    words: str = ""
    as_of: int | None = None


class NoteList(msgspec.Struct, frozen=True):
    """A page of a list. ``last``: the key to go on after, None at the end. ``count``: of all pages, if asked for."""

    notes: list[NoteRow]
    last: Key | None
    count: int | None


def key_kinds(selection: Selection) -> list[type]:
    """The types of a key's parts in this order."""
    column = COLUMNS[selection.sort]
    return [int] if column in UNIQUE else [str if column == "title" else int, int]


def select_list(
    connection: sqlite3.Connection, selection: Selection, after: Key | None, limit: int, counted: bool
) -> NoteList:
    """A page of the notes that are selected, after a key."""
    count = _count(connection, selection) if counted else None
    checkpoint = _search_checkpoint(connection) if selection.words else 0
    notes: list[NoteRow] = []
    size_bytes, last = 0, None
    for place, (*row, value) in enumerate(_rows(connection, selection, after, limit + 1)):
        note = NoteRow(*row)
        size_bytes += len(note.body)
        if place == limit or (notes and size_bytes > PAGE_BYTES_MAX):
            return NoteList(notes, last, count)
        last = [value] if COLUMNS[selection.sort] in UNIQUE else [value, note.id]
        # The search may be behind the table: what changed since is looked at itself.
        if note.position <= checkpoint or _has_words(note, selection.words):
            notes.append(note)
    return NoteList(notes, None, count)


def _rows(connection: sqlite3.Connection, selection: Selection, after: Key | None, limit: int) -> Iterator[Any]:
    queries = list_queries(selection, after)
    return islice(chain.from_iterable(connection.execute(sql, [*values, limit]) for sql, values in queries), limit)


def list_queries(selection: Selection, after: Key | None) -> list[tuple[str, list[Any]]]:
    """The SQL of a list from a key on, in one part or two, each with its values but for the last, the limit.

    Two parts where the order has an index: notes with the same value and a later id, then notes with a later value.
    SQLite would look for a pair ``(value, id) > (?, ?)`` by the value alone, and walk over all with the same value.
    """
    column, compare = COLUMNS[selection.sort], "<" if selection.descending else ">"
    if after is None:
        return [_list_query(selection, "TRUE", [])]
    if column in UNIQUE:
        return [_list_query(selection, f"n.{column} {compare} ?", after)]
    if column in INDEXED and not selection.words and selection.as_of is None:
        return [
            _list_query(selection, f"n.{column} = ? AND n.id {compare} ?", after),
            _list_query(selection, f"n.{column} {compare} ?", after[:1]),
        ]
    return [_list_query(selection, f"(n.{column}, n.id) {compare} (?, ?)", after)]


def _list_query(selection: Selection, later: str, key: Key) -> tuple[str, list[Any]]:
    column, direction = COLUMNS[selection.sort], "DESC" if selection.descending else "ASC"
    conditions, values = _conditions(selection)
    order = f"n.{column} {direction}" + ("" if column in UNIQUE else f", n.id {direction}")
    if selection.words and column == "id":
        order = f"s.rowid {direction}"
    return (
        f"SELECT n.id, n.position, n.version, 0, n.body, n.{column} FROM {_source(selection)}"
        f" WHERE {' AND '.join([*conditions, later])} ORDER BY {order} LIMIT ?",
        [*values, *key],
    )


def _count(connection: sqlite3.Connection, selection: Selection) -> int:
    conditions, values = _conditions(selection)
    sql = f"SELECT count(*) FROM {_source(selection)} WHERE {' AND '.join(conditions)}"
    return int(connection.execute(sql, values).fetchone()[0])


def _source(selection: Selection) -> str:
    if selection.as_of is not None:
        return "versions n"
    return "search s CROSS JOIN notes n ON n.id = s.rowid" if selection.words else "notes n"


def _conditions(selection: Selection) -> tuple[list[str], list[Any]]:
    """The filters. A plus keeps the planner from an index that would then need a sort."""
    conditions, values = ["TRUE"], []
    filters = (
        ("n.created_by = ?", selection.created_by),
        (f"{_priority(selection, equal=True)} = ?", selection.priority),
        (f"{_priority(selection)} >= ?", selection.priority_min),
        (f"{_priority(selection)} <= ?", selection.priority_max),
        ("search MATCH ?", expression(selection.words) or None),
        ("n.position <= ?", selection.as_of),
        ("n.ended > ? AND NOT n.deleted", selection.as_of),
        # Ids are given in order: the notes of then are those up to the last one created by then.
        (
            "n.id <= (SELECT id FROM versions WHERE version = 1 AND position <= ? ORDER BY position DESC LIMIT 1)",
            selection.as_of,
        ),
    )
    for condition, value in filters:
        if value is not None:
            conditions.append(condition)
            values.append(value)
    return conditions, values


def _priority(selection: Selection, equal: bool = False) -> str:
    """Equal priorities lie in the index in the order of ids; a range of them only in that of priorities."""
    served = selection.sort == "priority" or (equal and selection.sort == "id")
    return "n.priority" if served and not selection.words else "+n.priority"


def _search_checkpoint(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT position FROM checkpoints WHERE name = 'search'").fetchone()
    return int(row[0]) if row else 0


def _has_words(row: NoteRow, wanted: str) -> bool:
    if not wanted:
        return True
    note = decode_note(row.body)
    return matches(f"{note.title} {note.description}", wanted)
