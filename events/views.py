"""The log as people see it: pages forward and backward, filtered, each event as the JSON that ``codec.view`` makes.

The problem: a stream of the whole log in Python holds the interpreter, and everybody else waits. The way taken: SQLite
itself writes the JSON of events in today's shapes, outside the interpreter's lock and several times as fast; only old
shapes come back to Python. A test holds both ways equal.
"""

import sqlite3
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from events.codec import SCHEMAS, view
from events.log import PAGE_BYTES_MAX, PAGE_EVENTS_MAX
from events.record import COLUMNS, RecordedEvent

# How many positions a page looks at for a type: a rare one makes short or empty pages, not long reads.
SCAN_POSITIONS_MAX = 20_000

# Division in SQLite rounds towards zero, so the fraction of a time before 1970 is taken first.
_FRACTION = "((at % 1000000 + 1000000) % 1000000)"
AT = f"strftime('%Y-%m-%dT%H:%M:%S', (at - {_FRACTION}) / 1000000, 'unixepoch') || printf('.%06dZ', {_FRACTION})"
_IN_TODAYS_SHAPE = " OR ".join(f"(type = '{name}' AND schema = {number})" for name, number in SCHEMAS.items())
_VIEW = f"""
    CASE WHEN {_IN_TODAYS_SHAPE} THEN
        '{{"position":' || position || ',"note_id":' || note_id || ',"version":' || version
        || ',"type":"' || type || '","at":"' || {AT}
        || '","actor":' || json_quote(actor) || ',"data":' || data || '}}'
    END
"""


class EventFilter(Struct, frozen=True):
    """Which events: between two positions (not with them), of one note, of one type."""

    after: int
    before: int
    note_id: int | None = None
    type: str | None = None


class EventPage(Struct, frozen=True):
    """Events as JSON, in the order asked for. ``reached``: the position up to which the log was looked through."""

    views: list[str]
    reached: int


def select_forward(connection: sqlite3.Connection, wanted: EventFilter, limit: int = PAGE_EVENTS_MAX) -> EventPage:
    """The first events that pass, in the order of positions. Raises like ``codec.view``."""
    end = wanted.before
    if _scans(wanted):
        end = min(end, wanted.after + 1 + SCAN_POSITIONS_MAX)
    rows = _rows(connection, wanted, wanted.after, end, f"ORDER BY {_order(wanted)}")
    return _page(connection, rows, limit, end - 1)


def select_backward(connection: sqlite3.Connection, wanted: EventFilter, limit: int = PAGE_EVENTS_MAX) -> EventPage:
    """The last events that pass, latest first. Raises like ``codec.view``."""
    start = wanted.after
    if _scans(wanted):
        start = max(start, wanted.before - 1 - SCAN_POSITIONS_MAX)
    rows = _rows(connection, wanted, start, wanted.before, f"ORDER BY {_order(wanted)} DESC")
    return _page(connection, rows, limit, start + 1)


def _scans(wanted: EventFilter) -> bool:
    return wanted.type is not None and wanted.note_id is None


def _order(wanted: EventFilter) -> str:
    """A note's events in the order of versions are in that of positions, and an index has them so."""
    return "position" if wanted.note_id is None else "version"


def _rows(connection: sqlite3.Connection, wanted: EventFilter, after: int, before: int, order: str) -> Iterator[Any]:
    conditions, values = ["position > ? AND position < ?"], [after, before]
    for condition, value in (("note_id = ?", wanted.note_id), ("type = ?", wanted.type)):
        if value is not None:
            conditions.append(condition)
            values.append(value)  # type: ignore[arg-type]
    return connection.execute(f"SELECT position, {_VIEW} FROM events WHERE {' AND '.join(conditions)} {order}", values)


def _page(connection: sqlite3.Connection, rows: Iterator[tuple[int, str | None]], limit: int, end: int) -> EventPage:
    views: list[str] = []
    size_bytes = reached = 0
    for position, in_todays_shape in rows:
        text = in_todays_shape if in_todays_shape is not None else _old_view(connection, position)
        size_bytes += len(text)
        if views and size_bytes > PAGE_BYTES_MAX:
            return EventPage(views, reached)
        views.append(text)
        reached = position
        if len(views) == limit:
            return EventPage(views, reached)
    return EventPage(views, end)


def _old_view(connection: sqlite3.Connection, position: int) -> str:
    row = connection.execute(f"SELECT {COLUMNS} FROM events WHERE position = ?", (position,)).fetchone()
    return view(RecordedEvent(*row)).decode()
