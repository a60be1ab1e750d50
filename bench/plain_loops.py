"""The measures for maintenance: plain loops over sqlite3 in one thread, with the standard library's JSON and no more.

`python -m bench.plain_loops rebuild|verify|print FOLDER` does one of them on a data folder and ends.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import struct
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from projections.notes import Notes
from projections.search import Search
from projections.versions import FOREVER, MOMENT_POSITIONS, Versions

WORD = re.compile(r"[^\W_]+")
RECORD = "position, note_id, version, type, schema, at, actor, command, part, request, meta, salt, data"


def rebuild(folder: Path) -> None:
    """Builds the same tables, indexes and search index, statement by statement, the notes of now in a dictionary."""
    out = folder / "plain.db"
    out.unlink(missing_ok=True)
    log = sqlite3.connect(f"file:{folder / 'events.db'}?mode=ro", uri=True)
    tables = sqlite3.connect(out, isolation_level=None)
    tables.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536")
    for projection in (Notes(), Versions(), Search()):
        projection.create(tables)
    tables.execute("BEGIN")
    known: dict[int, dict[str, Any]] = {}
    moments: dict[int, str] = {}
    query = "SELECT position, note_id, version, type, at, actor, data FROM events ORDER BY position"
    for row in log.execute(query):
        before = known.get(row[1])
        note = known[row[1]] = apply(tables, row, before)
        block = (row[0] - 1) // MOMENT_POSITIONS
        moments[block] = min(note["updated_at"], moments.get(block, note["updated_at"]))
    tables.executemany("INSERT INTO moments VALUES (?, ?)", moments.items())
    for projection in (Notes(), Versions(), Search()):
        projection.index(tables)
    tables.execute("COMMIT")
    tables.close()
    out.unlink()


def apply(tables: sqlite3.Connection, row: tuple[Any, ...], before: dict[str, Any] | None) -> dict[str, Any]:
    """The rows of one event."""
    position, note_id, version, type_, at, actor, data = row
    changes = json.loads(data)
    when = datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    note = {"id": note_id, **(before or {}), **changes, "version": version, "updated_at": when, "position": position}
    note.pop("deleted_at", None)
    deleted = type_ == "NoteDeleted"
    if deleted:
        note["deleted_at"] = when
    body = json.dumps(note, separators=(",", ":"), ensure_ascii=False)
    created = int(datetime.fromisoformat(note["created_at"]).timestamp() * 1e6)
    columns = (note["title"], created, when, note["created_by"], note["priority"], body)
    if deleted:
        tables.execute("DELETE FROM notes WHERE id = ?", (note_id,))
        tables.execute("INSERT INTO tombstones VALUES (?, ?, ?, ?)", (note_id, position, version, body))
    else:
        tables.execute("DELETE FROM tombstones WHERE id = ?", (note_id,))
        tables.execute(
            "INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (note_id, position, version, *columns)
        )
    if before:
        tables.execute("UPDATE versions SET ended = ? WHERE position = ?", (position, before["position"]))
    tables.execute(
        "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (position, FOREVER, note_id, version, type_, actor, deleted, *columns),
    )
    if before is None or "title" in changes or "description" in changes:
        words = [" ".join(WORD.findall(note[name].lower())) for name in ("title", "description")]
        verb = "INSERT INTO" if before is None else "REPLACE INTO"
        tables.execute(f"{verb} search (rowid, title, description) VALUES (?, ?, ?)", (note_id, *words))
    return note


def verify(folder: Path) -> None:
    """Computes each leaf's hash from the row."""
    log = sqlite3.connect(f"file:{folder / 'events.db'}?mode=ro", uri=True)
    for row in log.execute(f"SELECT {RECORD} FROM events ORDER BY position"):
        leaf_hash(*row)


def leaf_hash(position, note_id, version, type_, schema, at, actor, command, part, request, meta, salt, data) -> bytes:  # type: ignore[no-untyped-def]
    """As docs/EVENTS.md has it."""
    meta = meta.encode()
    payload = hashlib.sha256(salt + struct.pack(">I", len(meta)) + meta + data.encode()).digest()
    leaf = b"\x01" + struct.pack(">QQQ", position, note_id, version) + sized(type_.encode())
    leaf += struct.pack(">Hq", schema, at) + sized(actor.encode()) + sized(command) + struct.pack(">H", part)
    return hashlib.sha256(b"\x00" + leaf + sized(request) + payload).digest()


def sized(value: bytes | None) -> bytes:
    """A byte string after its length."""
    return b"\xff\xff" if value is None else struct.pack(">H", len(value)) + value


def print_rows(folder: Path) -> None:
    """Reads and prints the rows."""
    log = sqlite3.connect(f"file:{folder / 'events.db'}?mode=ro", uri=True)
    for row in log.execute("SELECT position, note_id, version, type, at, actor, data FROM events ORDER BY position"):
        print(*row)


LOOPS = {"rebuild": rebuild, "verify": verify, "print": print_rows}

if __name__ == "__main__":
    LOOPS[sys.argv[1]](Path(sys.argv[2]))
