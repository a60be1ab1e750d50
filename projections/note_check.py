"""Compare the tables ``notes`` and ``tombstones`` with the versions, in ranges of ids, a short read each.

The two may be at different positions while a service runs: a note that the versions do not show yet is folded from the
log instead.
"""

from projections.checking import Checking
from projections.notes import encoder, row

# One range of ids: a few milliseconds.
RANGE_IDS = 5000

_NOTES = """
    SELECT one.id, one.position FROM notes one LEFT JOIN versions v ON v.position = one.position
    WHERE one.id > ? AND one.id <= ? AND one.position <= ? AND (
        v.position IS NULL OR v.ended <= ? OR v.deleted OR v.id <> one.id OR v.version <> one.version
        OR v.title <> one.title OR v.created_at <> one.created_at OR v.updated_at <> one.updated_at
        OR v.created_by <> one.created_by OR v.priority <> one.priority OR v.body <> one.body)
"""
_TOMBSTONES = """
    SELECT one.id, one.position FROM tombstones one LEFT JOIN versions v ON v.position = one.position
    WHERE one.id > ? AND one.id <= ? AND one.position <= ? AND (
        v.position IS NULL OR v.ended <= ? OR NOT v.deleted OR v.id <> one.id OR v.version <> one.version
        OR v.body <> one.body)
"""


def check_notes(checking: Checking, versions: int) -> None:
    """Compare all notes. ``versions``: up to where the versions can be relied on."""
    after = 0
    while True:
        with checking.snapshot():
            checkpoints = checking.checkpoints()
            notes = checkpoints["notes"]
            reliable = min(versions, checkpoints.get("versions", 0)) if not checking.in_use else checkpoints["versions"]
            last = checking.notes_at(notes)
            up_to = min(after + RANGE_IDS, last)
            _compare(checking, after, up_to, reliable, notes)
            if up_to == last:
                _compare_outside(checking, last)
                return
        after = up_to


def _compare(checking: Checking, after: int, up_to: int, versions: int, notes: int) -> None:
    for table, query in (("notes", _NOTES), ("tombstones", _TOMBSTONES)):
        for note_id, position in checking.rows(query, (after, up_to, versions, notes)):
            if note_id not in checking.broken:
                checking.differs(position, table, f"note {note_id} is not what the log makes it")
        newer = f"SELECT * FROM {table} WHERE id > ? AND id <= ? AND position > ?"
        for found in checking.rows(newer, (after, up_to, versions)):
            _compare_folded(checking, table, found, notes)
    _compare_ids(checking, after, up_to)


def _compare_folded(checking: Checking, table: str, found: tuple[object, ...], notes: int) -> None:
    note_id = found[0]
    assert isinstance(note_id, int)
    note = checking.folded(note_id, notes)
    if note is None and note_id in checking.broken:
        return
    expected: tuple[object, ...] = ()
    if note is not None and note.deleted == (table == "tombstones"):
        body = encoder.encode(note).decode()
        expected = (note.id, note.position, note.version, body) if note.deleted else tuple(row(note))
    if found != expected:
        checking.differs(note.position if note else None, table, f"note {note_id} is not what the log makes it")


def _compare_ids(checking: Checking, after: int, up_to: int) -> None:
    """Every note is in one of the tables, and in one alone."""
    both = "SELECT id FROM notes WHERE id > ? AND id <= ? UNION ALL SELECT id FROM tombstones WHERE id > ? AND id <= ?"
    ids = [note_id for (note_id,) in checking.rows(both, (after, up_to, after, up_to))]
    if len(ids) == len(set(ids)) == up_to - after:
        return
    for note_id in sorted(set(range(after + 1, up_to + 1)) - set(ids)):
        if note_id not in checking.broken:
            checking.differs(None, "notes", f"note {note_id} is missing")
    for note_id in sorted(note_id for note_id in set(ids) if ids.count(note_id) > 1):
        checking.differs(None, "notes", f"note {note_id} is there and deleted too")


def _compare_outside(checking: Checking, last: int) -> None:
    for table in ("notes", "tombstones"):
        for (note_id,) in checking.rows(f"SELECT id FROM {table} WHERE id < 1 OR id > ? LIMIT 10", (last,)):
            checking.differs(None, table, f"there is a note {note_id}, which no event made")
