"""Compare the words of the search with those of the notes, and its index with its words."""

import sqlite3

from projections.checking import Checking
from projections.search import indexed

RANGE_IDS = 5000

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
    """Let FTS5 compare its index with its words. It wants to write for that, and is rolled back."""
    tables.execute("BEGIN")
    try:
        tables.execute("INSERT INTO search (search) VALUES ('integrity-check')")
    except sqlite3.DatabaseError as error:
        checking.differs(None, "search", f"the index of the search is not that of its words: {error}")
    finally:
        if tables.in_transaction:
            tables.execute("ROLLBACK")
    _check_pages(tables, checking)


def _check_pages(tables: sqlite3.Connection, checking: Checking) -> None:
    """What FTS5 does not look at: its terms must lead to pages that are there, and every segment must have terms.

    A page's id is its segment's number above 37 bits of the page's own, of which 31 are the number that a term leads
    to; ids up to 10 are lists of FTS5 itself.
    """
    lost = """
        SELECT segid, pgno FROM search_idx
        WHERE pgno >> 32 OR NOT EXISTS (SELECT 1 FROM search_data WHERE id = (segid << 37) + (pgno >> 1))
    """
    for segment, page in tables.execute(lost):
        checking.differs(
            None, "search", f"a term of the search leads to page {page} of segment {segment}: there is none"
        )
    without = (
        "SELECT DISTINCT id >> 37 FROM search_data WHERE id > 10 AND id >> 37 NOT IN (SELECT segid FROM search_idx)"
    )
    for (segment,) in tables.execute(without):
        checking.differs(None, "search", f"no term of the search leads to segment {segment}")


def _changed_between(checking: Checking, versions: int, search: int) -> set[int]:
    """The notes of which the versions do not show yet what the search shows."""
    query = "SELECT DISTINCT note_id FROM events WHERE position > ? AND position <= ?"
    return {note_id for (note_id,) in checking.log.execute(query, (versions, search))}


def _compare(checking: Checking, after: int, up_to: int, search: int, newer: set[int]) -> None:
    expected_id = after
    for note_id, *found, title, description in checking.rows(_WORDS, (search, after, up_to)):
        expected_id += 1
        if note_id != expected_id:
            checking.differs(None, "search", f"the words of note {expected_id} are missing")
            expected_id = note_id
        texts = _folded_texts(checking, note_id, search) if note_id in newer else (title, description)
        if note_id in checking.broken:
            continue
        if texts[0] is None or found != [indexed(text or "") for text in texts]:
            checking.differs(None, "search", f"the words of note {note_id} are not those of its texts")
    if expected_id != up_to:
        checking.differs(None, "search", f"the words of note {expected_id + 1} are missing")


def _folded_texts(checking: Checking, note_id: int, search: int) -> tuple[str, str] | tuple[None, None]:
    note = checking.folded(note_id, search)
    return (note.title, note.description) if note else (None, None)


def _compare_outside(checking: Checking, last: int) -> None:
    for (note_id,) in checking.rows("SELECT id FROM search_content WHERE id < 1 OR id > ? LIMIT 10", (last,)):
        checking.differs(None, "search", f"there are words of a note {note_id}, which no event made")
