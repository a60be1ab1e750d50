"""The ledger's part of a backup: its tree up to a position, and what was signed of it by then.

Tiles only grow, so the tree of an earlier size is in the tiles of today, whoever makes them longer meanwhile.
"""

import sqlite3
from functools import partial
from pathlib import Path

from events.errors import NotelogError
from events.folder import reading_uri
from projections import merkle
from projections.ledger import Ledger, select_tile
from projections.merkle import HASH_BYTES
from projections.tables import CHECKPOINTS, Checkpoint, insert_checkpoint, select_checkpoint


class LedgersDiffer(NotelogError):
    """The ledger and its copy have another past. Both are kept: one of them was changed."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the tree of {size} events is another one in the copy of the ledger than in the ledger")
        self.size = size


def select_ledger_checkpoint(ledger: Path) -> Checkpoint | None:
    """How far the ledger is; None where there is none. Ask before the log is copied: its copy is then not shorter."""
    if not ledger.exists():
        return None
    source = _reading(ledger)
    try:
        return select_checkpoint(source, Ledger.name)
    finally:
        source.close()


def copy_ledger(ledger: Path, copy: Path, checkpoint: Checkpoint) -> None:
    """Bring the copy up to the checkpoint, in one transaction, with only what it does not have.

    Raises ``LedgersDiffer``, and ``MissingHashes`` where one of the two has not all of its tree.
    """
    source = _reading(ledger)
    target = sqlite3.connect(copy, isolation_level=None)
    try:
        target.execute("PRAGMA journal_mode = WAL")
        target.execute("PRAGMA synchronous = FULL")
        target.execute("BEGIN IMMEDIATE")
        target.execute(CHECKPOINTS)
        found = select_checkpoint(target, Ledger.name)
        if found is None:
            Ledger().create(target)
        before = found.position if found else 0
        _require_same_tree(source, target, before, checkpoint.position)
        _copy_tiles(source, target, before, checkpoint.position)
        _copy_signed(source, target, checkpoint.position)
        insert_checkpoint(target, checkpoint)
        target.execute("COMMIT")
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        target.close()
        source.close()


def _require_same_tree(source: sqlite3.Connection, target: sqlite3.Connection, before: int, now: int) -> None:
    if before > now or merkle.root(partial(select_tile, source), before) != merkle.root(
        partial(select_tile, target), before
    ):
        raise LedgersDiffer(before)


def _copy_tiles(source: sqlite3.Connection, target: sqlite3.Connection, before: int, now: int) -> None:
    """Each tile from the one on that was the last before, cut to what the tree of ``now`` has of it."""
    first = {level: full for level, full, _ in merkle.widths(before)}
    for level, full, width in merkle.widths(now):
        for number in range(first.get(level, 0), full + (width > 0)):
            hashes = merkle.TILE_HASHES if number < full else width
            tile = select_tile(source, level, number)[: hashes * HASH_BYTES]
            if len(tile) < hashes * HASH_BYTES:
                raise merkle.MissingHashes(level, number)
            target.execute("INSERT OR REPLACE INTO tiles VALUES (?, ?, ?)", (level, number, tile))


def _copy_signed(source: sqlite3.Connection, target: sqlite3.Connection, now: int) -> None:
    (last,) = target.execute("SELECT coalesce(max(size), -1) FROM roots").fetchone()
    for table in ("roots", "signatures"):
        # From the last on: it may have been signed with another key since.
        rows = source.execute(f"SELECT * FROM {table} WHERE size BETWEEN ? AND ?", (last, now))
        columns = len(rows.description)
        target.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * columns)})", rows)


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(reading_uri(path), uri=True, isolation_level=None)
