"""Fold the log again and compare with the table ``versions``, in short reads and flat memory.

The problem: a fold in Python costs three times what it costs to hash the event. The way taken: most events are plain
creations, whose payload stands in the version's body as it was written; those SQLite confirms by itself, with the log
attached. Every other version is folded here from the version before, which was compared in its turn; so the state of a
million notes is never held. A version's row never changes but for its end, so a running service does not disturb.
"""

import sqlite3
from collections.abc import Callable
from typing import Any

from msgspec import DecodeError

from events.codec import SCHEMAS, decode
from events.errors import EventError
from events.note import Note, evolve
from events.record import COLUMNS as RECORD_COLUMNS
from events.record import RecordedEvent
from events.views import AT
from projections.checking import Checking
from projections.notes import decode_note
from projections.versions import COLUMNS, FOREVER, MOMENT_POSITIONS, first_of_each, row, select_latest

# One short read, some milliseconds.
RANGE_POSITIONS = 2_000
# Records that are folded at once.
PAGE_RECORDS = 250

# As the service writes it when a client gave no fraction, or none at all; other fractions are folded here.
_CREATED_AT = """
    strftime('%Y-%m-%dT%H:%M:%S', v.created_at / 1000000, 'unixepoch')
    || CASE v.created_at % 1000000 WHEN 0 THEN 'Z' ELSE printf('.%06dZ', v.created_at % 1000000) END
"""
# One look into the JSON, and only where all else is right.
_IS_PLAIN_CREATION = f"""
    CASE WHEN e.type = 'NoteCreated' AND e.schema = {SCHEMAS["NoteCreated"]} AND e.version = 1
        AND v.id = e.note_id AND v.version = 1 AND v.type = e.type AND v.actor = e.actor AND v.deleted = 0
        AND v.updated_at = {AT}
        AND v.body = '{{"id":' || e.note_id || ',' || substr(e.data, 2, length(e.data) - 2)
            || ',"version":1,"updated_at":"' || v.updated_at || '","position":' || e.position || '}}'
    THEN json_extract(e.data, '$.title', '$.created_by', '$.priority', '$.created_at')
        = json_array(v.title, v.created_by, v.priority, {_CREATED_AT})
    END
"""
_NOT_CONFIRMED = f"""
    SELECT e.position FROM log.events e LEFT JOIN versions v ON v.position = e.position
    WHERE e.position > ? AND e.position <= ? AND NOT coalesce({_IS_PLAIN_CREATION}, FALSE)
"""
_WITHOUT_EVENT = """
    SELECT v.position FROM versions v LEFT JOIN log.events e ON e.position = v.position
    WHERE v.position > ? AND v.position <= ? AND e.position IS NULL
"""
_WRONG_ENDS = """
    SELECT one.position FROM versions one LEFT JOIN versions next
        ON next.id = one.id AND next.version = one.version + 1
    WHERE one.position > ? AND one.position <= ? AND one.ended <> coalesce(next.position, ?)
"""
_MOMENTS = f"SELECT (position - 1) / {MOMENT_POSITIONS} AS block, min(updated_at) FROM versions GROUP BY block"


def check_versions(checking: Checking, checkpoint: int, progress: Callable[[int], None]) -> None:
    """Compare all versions up to the checkpoint. The log must be attached to the tables as ``log``."""
    for after in range(0, checkpoint, RANGE_POSITIONS):
        up_to = min(after + RANGE_POSITIONS, checkpoint)
        left = _not_confirmed(checking, after, up_to)
        for place in range(0, len(left), PAGE_RECORDS):
            _compare(checking, left[place : place + PAGE_RECORDS])
        for (position,) in checking.rows(_WITHOUT_EVENT, (after, up_to)):
            checking.differs(position, "versions", f"there is a version at {position}, which no event made")
        for (position,) in checking.rows(_WRONG_ENDS, (after, up_to, FOREVER)):
            checking.differs(position, "versions", f"the version at {position} does not end where the next one begins")
        progress(up_to)
    if not checking.in_use:
        _check_moments(checking)
        outside = "SELECT position FROM versions WHERE position < 1 OR position > ? LIMIT 10"
        for (position,) in checking.rows(outside, (checkpoint,)):
            checking.differs(position, "versions", f"there is a version at {position}, which no event made")


def _not_confirmed(checking: Checking, after: int, up_to: int) -> list[int]:
    """The positions of the versions that must be folded."""
    try:
        return [position for (position,) in checking.rows(_NOT_CONFIRMED, (after, up_to))]
    except sqlite3.OperationalError as error:
        if "malformed JSON" not in str(error):
            raise
        rows = checking.log.execute("SELECT position FROM events WHERE position > ? AND position <= ?", (after, up_to))
        return [position for (position,) in rows]


def _compare(checking: Checking, positions: list[int]) -> None:
    """Fold some events and compare their versions."""
    wanted = ", ".join(map(str, positions))
    rows = checking.log.execute(f"SELECT {RECORD_COLUMNS} FROM events WHERE position IN ({wanted}) ORDER BY position")
    page = [RecordedEvent(*row) for row in rows]
    found = {row[0]: row for row in checking.rows(f"SELECT {COLUMNS} FROM versions WHERE position IN ({wanted})")}
    latest = _before(checking, page)
    for record in page:
        if record.note_id in checking.broken:
            continue
        try:
            before = latest.get(record.note_id)
            if before is None or before.version != record.version - 1:
                before = checking.folded(record.note_id, record.position - 1)
            note = latest[record.note_id] = evolve(before, decode(record))
            expected = row(record, note)
        except (EventError, ValueError, OverflowError) as error:
            checking.broke(record.note_id, record.position, error)
            continue
        actual = found.get(record.position)
        if actual is None or actual[2:] != tuple(expected[2:]):
            _tell(checking, record, actual)


def _tell(checking: Checking, record: RecordedEvent, actual: tuple[Any, ...] | None) -> None:
    """The version differs; but perhaps only the one before it is wrong: the log alone decides."""
    note = checking.folded(record.note_id, record.position)
    if note is None or (actual is not None and actual[2:] == tuple(row(record, note)[2:])):
        return
    detail = f"the version at {record.position} is missing"
    if actual is not None:
        pairs = zip(COLUMNS.split(", "), actual, row(record, note), strict=True)
        names = [name for name, is_, should in pairs if is_ != should and name != "ended"]
        detail = f"the version at {record.position} is not what its event makes it ({', '.join(names)})"
    checking.differs(record.position, "versions", detail)


def _before(checking: Checking, page: list[RecordedEvent]) -> dict[int, Note]:
    """The notes as they were before the page, as far as the table tells."""
    latest: dict[int, Note] = {}
    for _, body in select_latest(checking.rows, first_of_each(page)):
        try:
            note = decode_note(body)
        except (DecodeError, UnicodeError):
            continue  # damaged: it is told at its own position
        latest[note.id] = note
    return latest


def _check_moments(checking: Checking) -> None:
    expected, found = dict(checking.rows(_MOMENTS)), dict(checking.rows("SELECT block, earliest FROM moments"))
    for block in sorted(expected.keys() | found.keys()):
        if expected.get(block) != found.get(block):
            checking.differs(None, "moments", f"block {block} is {found.get(block)}, expected {expected.get(block)}")
