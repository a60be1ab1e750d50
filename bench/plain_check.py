"""Do the plain loops do the same work? Their tables and hashes beside those of the service, row by row.

`python -m bench.plain_check FOLDER`, on a data folder that nobody writes to and whose tables have caught up.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from bench.plain_loops import RECORD, TABLES, Row, leaf_hash, rebuild, rows
from projections.merkle import HASH_BYTES

CONTENTS = (
    "SELECT * FROM notes ORDER BY id",
    "SELECT * FROM tombstones ORDER BY id",
    "SELECT * FROM versions ORDER BY position",
    "SELECT * FROM moments ORDER BY block",
    "SELECT rowid, title, description FROM search ORDER BY rowid",
    "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name <> 'checkpoints' ORDER BY name",
)


class Different(Exception):
    """A plain loop is no measure for the service: it does something else."""

    def __init__(self, what: str, theirs: object, ours: object) -> None:
        """`theirs` is the plain loop's, `ours` the service's; None: there is nothing."""
        super().__init__(f"{what}: the plain loop has {theirs!r}, the service has {ours!r}")


def check(folder: Path) -> None:
    """Builds the plain tables once more and compares everything; raises Different at the first difference."""
    rebuild(folder)
    for query in CONTENTS:
        same(query, selected(folder / TABLES, query), selected(folder / "notes.db", query))
    same("leaves", ((leaf_hash(*row),) for row in rows(folder, RECORD)), ledger_leaves(folder / "ledger.db"))


def same(what: str, theirs: Iterator[Row], ours: Iterator[Row]) -> None:
    """Both, row by row, to the end of both."""
    for plain, service in zip_longest(theirs, ours):
        if plain != service:
            raise Different(what, plain, service)


def selected(file: Path, query: str) -> Iterator[Row]:
    """The rows of a query."""
    return sqlite3.connect(f"file:{file}?mode=ro", uri=True).execute(query)


def ledger_leaves(file: Path) -> Iterator[Row]:
    """The hashes of the ledger's lowest tiles, one by one."""
    for (tile,) in selected(file, "SELECT hashes FROM tiles WHERE level = 0 ORDER BY number"):
        for start in range(0, len(tile), HASH_BYTES):
            yield (tile[start : start + HASH_BYTES],)


if __name__ == "__main__":
    check(Path(sys.argv[1]))
