"""The measures for maintenance: plain loops over sqlite3 in one thread, row by row, with msgspec for JSON and no more.

`python -m bench.plain_loops rebuild|leaves|print FOLDER` does one of them on a data folder and ends. That they do the
same work as the service is checked by `plain_check`.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import struct
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from projections.notes import Notes
from projections.search import Search
from projections.versions import FOREVER, MOMENT_POSITIONS, Versions

TABLES = "plain.db"
WORD = re.compile(r"[^\W_]+")
RECORD = "position, note_id, version, type, schema, at, actor, command, part, request, meta, salt, data"
SEEN = "position, note_id, version, type, at, actor, data"  # the columns that readers of the log see

Note = dict[str, Any]
Row = tuple[Any, ...]


def rebuild(folder: Path) -> None:
    """Builds the same tables, indexes and search index as the service; the file stays until it is built again."""
    tables = empty_tables(folder / TABLES)
    tables.execute("BEGIN")
    known: dict[int, Note] = {}
    moments: dict[int, str] = {}
    for row in rows(folder, SEEN):
        before = known.get(row[1])
        note = known[row[1]] = evolved(row, before)
        save(tables, row, before, note)
        block = (row[0] - 1) // MOMENT_POSITIONS
        moments[block] = min(note["updated_at"], moments.get(block, note["updated_at"]))
    tables.executemany("INSERT INTO moments VALUES (?, ?)", moments.items())
    for projection in (Notes(), Versions(), Search()):
        projection.index(tables)
    tables.execute("COMMIT")
    tables.close()


def empty_tables(file: Path) -> sqlite3.Connection:
    """The service's tables in a new file that no crash is feared for."""
    file.unlink(missing_ok=True)
    tables = sqlite3.connect(file, isolation_level=None)
    tables.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536")
    for projection in (Notes(), Versions(), Search()):
        projection.create(tables)
    return tables


def evolved(row: Row, before: Note | None) -> Note:
    """The note after an event."""
    position, note_id, version, _, at, _, data = row
    when = datetime.fromtimestamp(at / 1e6, UTC).isoformat(timespec="microseconds")[:26] + "Z"
    changes = msgspec.json.decode(data)
    note = {"id": note_id, **(before or {}), **changes, "version": version, "updated_at": when, "position": position}
    note.pop("deleted_at", None)
    if row[3] == "NoteDeleted":
        note["deleted_at"] = when
    return note


def save(tables: sqlite3.Connection, row: Row, before: Note | None, note: Note) -> None:
    """The rows of one event."""
    columns = columns_of(note)
    save_note(tables, before, note, columns)
    save_version(tables, row, before, note, columns)
    if before is None or before["title"] != note["title"] or before["description"] != note["description"]:
        verb = "INSERT INTO" if before is None else "REPLACE INTO"
        tables.execute(f"{verb} search (rowid, title, description) VALUES (?, ?, ?)", (note["id"], *words_of(note)))


def columns_of(note: Note) -> Row:
    """What the tables of notes and of versions have in common."""
    body = msgspec.json.encode(note).decode()
    created = int(datetime.fromisoformat(note["created_at"]).timestamp() * 1e6)
    return (note["title"], created, note["updated_at"], note["created_by"], note["priority"], body)


def words_of(note: Note) -> Row:
    """What the search is given."""
    return tuple(" ".join(WORD.findall(note[name].lower())) for name in ("title", "description"))


def save_note(tables: sqlite3.Connection, before: Note | None, note: Note, columns: Row) -> None:
    """A row of the notes, or a tombstone; the other one goes only when there is one."""
    key = (note["id"], note["position"], note["version"])
    if "deleted_at" in note:
        tables.execute("DELETE FROM notes WHERE id = ?", (note["id"],))
        tables.execute("INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?, ?)", (*key, columns[-1]))
        return
    if before and "deleted_at" in before:
        tables.execute("DELETE FROM tombstones WHERE id = ?", (note["id"],))
    tables.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*key, *columns))


def save_version(tables: sqlite3.Connection, row: Row, before: Note | None, note: Note, columns: Row) -> None:
    """A row of the versions, and the end of the one before."""
    position, note_id, version, type_, _, actor, _ = row
    if before:
        tables.execute("UPDATE versions SET ended = ? WHERE position = ?", (position, before["position"]))
    tables.execute(
        "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (position, FOREVER, note_id, version, type_, actor, "deleted_at" in note, *columns),
    )


def leaves(folder: Path) -> None:
    """Computes each leaf's hash from the row."""
    for row in rows(folder, RECORD):
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
    """Reads the rows and writes each as a line of JSON."""
    write, encode = sys.stdout.buffer.write, msgspec.json.encode
    for row in rows(folder, SEEN):
        write(encode(row) + b"\n")


def rows(folder: Path, columns: str) -> Iterator[Row]:
    """The log, in its order."""
    log = sqlite3.connect(f"file:{folder / 'events.db'}?mode=ro", uri=True)
    return log.execute(f"SELECT {columns} FROM events ORDER BY position")


LOOPS = {"rebuild": rebuild, "leaves": leaves, "print": print_rows}

if __name__ == "__main__":
    LOOPS[sys.argv[1]](Path(sys.argv[2]))
