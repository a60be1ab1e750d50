"""Compare the words of the search with those of the notes, and its index with its words."""

import sqlite3

from projections.checking import Checking
from projections.search import indexed
from projections.tables import is_damage

# One short read, some milliseconds.
RANGE_IDS = 2_000

_WORDS = """
    SELECT one.id, one.c0, one.c1, v.title, json_extract(v.body, '$.description')
    FROM search_content one LEFT JOIN versions v ON v.id = one.id AND v.position <= ?1 AND v.ended > ?1
    WHERE one.id > ?2 AND one.id <= ?3 ORDER BY one.id
"""


def check_search(checking: Checking) -> None:
    """Compare the words of all notes."""
    after = 0
    while True:
        with checking.snapshot():
            checkpoints = checking.checkpoints()
            search, versions = checkpoints["search"], checkpoints["versions"]
            last = checking.notes_at(search)
            up_to = min(after + RANGE_IDS, last)
            _compare(checking, after, up_to, search, _changed_between(checking, versions, search))
            if up_to == last:
                _compare_outside(checking, last)
                return
        after = up_to


def check_index(tables: sqlite3.Connection, checking: Checking) -> None:
    """Let FTS5 compare its index with its words. It wants to write for that, and is rolled back.

    Raises ``sqlite3.Error`` when it cannot, which says nothing of the index.
    """
    tables.execute("BEGIN")
    try:
        tables.execute("INSERT INTO search (search) VALUES ('integrity-check')")
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        checking.differs(None, "search", f"the index of the search is not that of its words: {error}")
    finally:
        if tables.in_transaction:
            tables.execute("ROLLBACK")


def _changed_between(checking: Checking, versions: int, search: int) -> set[int]:
    """The notes of which the versions do not show yet what the search shows."""
    query = "SELECT DISTINCT note_id FROM events WHERE position > ? AND position <= ?"
    return {note_id for (note_id,) in checking.log.execute(query, (versions, search))}


def _compare(checking: Checking, after: int, up_to: int, search: int, newer: set[int]) -> None:
    ids: set[int] = set()
    for note_id, *found, title, description in checking.rows(_WORDS, (search, after, up_to)):
        ids.add(note_id)
        if note_id not in newer and (title is None or found != [indexed(title), indexed(description or "")]):
            checking.differs(None, "search", f"the words of note {note_id} are not those of its texts")
    for note_id in sorted(set(range(after + 1, up_to + 1)) - ids):
        checking.differs(None, "search", f"the words of note {note_id} are missing")
    for note_id in sorted(note_id for note_id in newer if after < note_id <= up_to):
        _compare_folded(checking, note_id, search)


def _compare_folded(checking: Checking, note_id: int, search: int) -> None:
    note = checking.folded(note_id, search)
    found = checking.rows("SELECT c0, c1 FROM search_content WHERE id = ?", (note_id,))
    if note is not None and found != [(indexed(note.title), indexed(note.description))]:
        checking.differs(None, "search", f"the words of note {note_id} are not those of its texts")


def _compare_outside(checking: Checking, last: int) -> None:
    for (note_id,) in checking.rows("SELECT id FROM search_content WHERE id < 1 OR id > ? LIMIT 10", (last,)):
        checking.differs(None, "search", f"there are words of a note {note_id}, which no event made")
