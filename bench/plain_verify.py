"""The measure for the whole of `notelog verify`: one thread that hashes, folds and compares everything, row by row.

`python -m bench.plain_verify FOLDER`, on a data folder that nobody writes to and whose tables have caught up; ends with
an error at the first difference. It leaves out what costs little: the signatures, and the hashes above the leaves.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from bench.plain_check import Different, ledger_leaves, same, selected
from bench.plain_loops import RECORD, Note, Row, columns_of, evolved, leaf_hash, rows, words_of
from projections.versions import FOREVER, MOMENT_POSITIONS

Folded = dict[int, tuple[Note, Row]]
"""By id, each note with its columns."""


def verify(folder: Path) -> None:
    """Everything in the folder against the log."""
    tables = folder / "notes.db"
    folded, moments = fold(folder)
    here = [(note, columns) for _, (note, columns) in sorted(folded.items())]
    live = ((*key_of(note), *columns) for note, columns in here if "deleted_at" not in note)
    gone = ((*key_of(note), columns[-1]) for note, columns in here if "deleted_at" in note)
    same("notes", live, selected(tables, "SELECT * FROM notes ORDER BY id"))
    same("tombstones", gone, selected(tables, "SELECT * FROM tombstones ORDER BY id"))
    same("moments", iter(moments.items()), selected(tables, "SELECT * FROM moments ORDER BY block"))
    words = ((note["id"], *words_of(note)) for note, _ in here)
    same("search", words, selected(tables, "SELECT rowid, title, description FROM search ORDER BY rowid"))
    sqlite3.connect(tables).execute("INSERT INTO search (search) VALUES ('integrity-check')")


def fold(folder: Path) -> tuple[Folded, dict[int, str]]:
    """The notes and the moments, from a log that was compared with its leaves and with the versions on the way."""
    folded: Folded = {}
    moments: dict[int, str] = {}
    ends: dict[int, int] = {}
    versions = selected(folder / "notes.db", "SELECT * FROM versions ORDER BY position")
    for row, (leaf,), found in zip(rows(folder, RECORD), ledger_leaves(folder / "ledger.db"), versions, strict=True):
        position, note_id, version, type_, _, at, actor, *_, data = row
        note = evolved((position, note_id, version, type_, at, actor, data), folded.get(note_id, (None,))[0])
        folded[note_id] = note, columns_of(note)
        expected = (position, note_id, version, type_, actor, "deleted_at" in note, *folded[note_id][1])
        if leaf_hash(*row) != leaf or (found[0], *found[2:]) != expected or ends.get(note_id, position) != position:
            raise Different(f"event {position}", expected, found)
        ends[note_id] = found[1]
        block = (position - 1) // MOMENT_POSITIONS
        moments[block] = min(note["updated_at"], moments.get(block, note["updated_at"]))
    if set(ends.values()) - {FOREVER}:
        raise Different("ends of versions", FOREVER, max(ends.values()))
    return folded, moments


def key_of(note: Note) -> Row:
    """The first columns of the tables of notes."""
    return note["id"], note["position"], note["version"]


if __name__ == "__main__":
    verify(Path(sys.argv[1]))
