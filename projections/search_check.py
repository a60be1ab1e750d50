"""Compare the words of the search with those of the notes, and its index with its words."""

import sqlite3

from projections.checking import Checking
from projections.search import indexed
from projections.tables import is_damage

# One short read, some milliseconds.
RANGE_IDS = 2_000
# Ids are added up by their remainder, so that SQLite's sum stays within 64 bits. No power of two, which is what one
# changed bit adds to an id, is a multiple of it.
PRIME = 2_147_483_647
# FTS5 keeps no more of a word (``FTS5_MAX_TOKEN_SIZE``).
WORD_BYTES_MAX = 32_768

_WORDS = """
    SELECT one.id, one.c0, one.c1, v.title, json_extract(v.body, '$.description')
    FROM search_content one LEFT JOIN versions v ON v.id = one.id AND v.position <= ?1 AND v.ended > ?1
    WHERE one.id > ?2 AND one.id <= ?3 ORDER BY one.id
"""


def check_words(checking: Checking) -> None:
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
    """Compare the index with its words: FTS5 does, which wants to write for that and is rolled back, and then we do.

    FTS5 (3.40, ``fts5_index.c``) joins one checksum of each word of each note by exclusive or: where the same bits of
    an even number of them change, as in a word that two notes have, it sees nothing. So what the index says is added
    up too. Raises ``sqlite3.Error`` when it cannot be done, which says nothing of the index.
    """
    tables.text_factory = bytes
    tables.execute("BEGIN IMMEDIATE")  # which waits for another writer; an INSERT in a transaction does not
    try:
        tables.execute("INSERT INTO search (search) VALUES ('integrity-check')")
        tables.execute("ROLLBACK")
        tables.execute("BEGIN")
        if _sums_of_index(tables) != _sums_of_words(tables):
            checking.differs(None, "search", "the index of the search is not that of its words")
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        checking.differs(None, "search", f"the index of the search is not that of its words: {error}")
    finally:
        if tables.in_transaction:
            tables.execute("ROLLBACK")


def _sums_of_index(tables: sqlite3.Connection) -> tuple[int, int]:
    """The hash of each word, for each note that has it, and the remainder of the note's id: all of them added up.

    Python's hashes of bytes have a key that is new in each process, so that no two words are known to have the same.
    """
    tables.execute("CREATE VIRTUAL TABLE temp.indexed_words USING fts5vocab (main, search, 'row')")
    tables.execute("CREATE VIRTUAL TABLE temp.indexed_notes USING fts5vocab (main, search, 'instance')")
    hashes = sum(hash(word) * notes for word, notes in tables.execute("SELECT term, doc FROM indexed_words"))
    (ids,) = tables.execute(f"SELECT coalesce(sum(doc % {PRIME}), 0) FROM indexed_notes").fetchone()
    return hashes, ids


def _sums_of_words(tables: sqlite3.Connection) -> tuple[int, int]:
    """The same of the words that the index was given; of a text that is none too, which is told elsewhere."""
    hashes = ids = 0
    rows = "SELECT id, CAST(coalesce(c0, '') AS TEXT), CAST(coalesce(c1, '') AS TEXT) FROM search_content"
    for note_id, title, description in tables.execute(rows):
        words = {*title.split(), *description.split()}
        if len(description) > WORD_BYTES_MAX:
            words = {word[:WORD_BYTES_MAX] for word in words}
        hashes += sum(map(hash, words))
        ids += len(words) * (note_id % PRIME)
    return hashes, ids


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
