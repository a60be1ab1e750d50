"""Large logs, made quickly: the service writes the first events itself, their rows are the model for all the others.

The same seed makes the same log, but for the service's own first rows (their time and their salt).
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.client import ask
from bench.contender import BODY, NOTES, notelog
from bench.load import Request

SEED = 20170823
EDIT_EVERY = 10  # of ten events nine create a note and one edits an earlier one
EVENT_EVERY_US = 1_000_000
WORDS = ("time", "note", "plan", "idea", "list", "book", "train", "house", "river", "garden", "letter", "music")
AUTHORS = [f"author {number}" for number in range(100)]


def notes_of(events: int) -> int:
    """How many notes a log of at least two events holds: the second one is an edit too."""
    return events - 1 - events // EDIT_EVERY


def events_of(notes: int) -> int:
    """The length of the log that holds so many notes."""
    events = notes + 1
    while (missing := notes - notes_of(events)) > 0:
        events += missing
    return events


def fill(folder: Path, events: int) -> int:
    """Makes a log of so many events in an empty folder; the tables are built at the next start. The number of notes."""
    with notelog().start(folder, ()) as server:
        ask(server, NOTES.create)
        ask(server, Request("PUT", "/notes/1", BODY % 2))  # one number more than the note was created with
    with closing(sqlite3.connect(folder / "events.db", isolation_level=None)) as database:
        database.row_factory = sqlite3.Row
        models = [dict(row) for row in database.execute("SELECT * FROM events ORDER BY position")]
        if len(models) != 2:
            raise ValueError(f"expected the two events of a create and an edit, got {len(models)}")
        names = ", ".join(models[0])
        values = ", ".join(f":{name}" for name in models[0])
        database.execute("BEGIN IMMEDIATE")
        database.executemany(f"INSERT INTO events ({names}) VALUES ({values})", rows(models[0], models[1], events))
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return int(database.execute("SELECT max(note_id) FROM events").fetchone()[0])


def fill_records(folder: Path, notes: int) -> None:
    """The notes of such a log for PocketBase, straight into the tables of its folder while it does not run."""
    chance = random.Random(SEED)
    model = json.loads(BODY % 1) | {"created_at": "2017-08-23 00:00:00.000Z"}  # as it keeps a time itself
    records = (creation(model, chance) | {"id": f"{number:015d}"} for number in range(1, notes + 1))
    columns = ("id", *model)
    values = ", ".join(f":{name}" for name in columns)
    with closing(sqlite3.connect(folder / "pocketbase" / "data.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        database.executemany(f"INSERT INTO notes ({', '.join(columns)}) VALUES ({values})", records)
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def rows(created: dict[str, Any], edited: dict[str, Any], events: int) -> Iterator[dict[str, Any]]:
    """Rows from position 3 on, each with an idempotency command, so that its index has its full size."""
    chance = random.Random(SEED)
    versions = [0, edited["version"]]  # of note 0, which there is not, and of note 1
    for position in range(3, events + 1):
        if position % EDIT_EVERY:
            versions.append(0)
            note, model, data = len(versions) - 1, created, creation(json.loads(created["data"]), chance)
        else:
            note, model, data = chance.randrange(1, len(versions)), edited, {"priority": position}
        versions[note] += 1
        yield model | {
            "position": position,
            "note_id": note,
            "version": versions[note],
            "at": created["at"] - (events - position) * EVENT_EVERY_US,
            "command": chance.randbytes(16),
            "request": chance.randbytes(16),
            "salt": chance.randbytes(16),
            "data": json.dumps(data, separators=(",", ":")),
        }


def creation(fields: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """The model's fields with other words in them."""
    return fields | {
        "title": " ".join(chance.choices(WORDS, k=4)),
        "description": " ".join(chance.choices(WORDS, k=15)),
        "created_by": chance.choice(AUTHORS),
        "priority": chance.randrange(10),
    }
