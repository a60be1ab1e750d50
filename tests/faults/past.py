"""A log with a past: a service starts on it as on one that has been in use for long."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .checker import Event, read_events
from .process import COMMAND, REPOSITORY

MADE_WITHIN_S = 300.0
EDIT_EVERY = 10  # of ten events nine create a note and one edits an earlier one
BIRTH_US = 1_577_836_800_000_000  # 2020-01-01
EVENT_EVERY_US = 1_000_000
WORDS = ("time", "note", "plan", "idea", "list", "book", "train", "house", "river", "garden", "letter", "music")


async def make_past(data: Path, events: int, dice: random.Random) -> list[Event]:
    """Fill an empty folder with so many events and the tables that belong to them; the events."""
    export = data.with_name("past.ndjson")
    with export.open("w") as file:
        file.writelines(json.dumps(record) + "\n" for record in _records(events, dice))
    await _notelog("import", export, "--data", data)
    await _notelog("rebuild", "--data", data)
    return read_events(data)


async def _notelog(*arguments: str | Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *map(str, arguments), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), MADE_WITHIN_S)
    assert process.returncode == 0, said.decode()


def _records(events: int, dice: random.Random) -> Iterator[dict[str, Any]]:
    """The lines of an export."""
    versions: list[int] = []
    for position in range(1, events + 1):
        if position % EDIT_EVERY:
            versions.append(0)
            note_id, type_, data = len(versions), "NoteCreated", _creation(position, dice)
        else:
            note_id, type_, data = dice.randint(1, len(versions)), "NoteEdited", {"title": f"past {position}"}
        versions[note_id - 1] += 1
        yield {
            "position": position,
            "note_id": note_id,
            "version": versions[note_id - 1],
            "type": type_,
            "schema": 1,
            "at": BIRTH_US + position * EVENT_EVERY_US,
            "actor": "anonymous",
            "command": dice.randbytes(16).hex(),
            "part": 0,
            "request": dice.randbytes(16).hex(),
            "meta": "{}",
            "salt": dice.randbytes(16).hex(),
            "data": json.dumps(data),
            "epoch": "0123456789abcdef0123456789abcdef",
        }


def _creation(position: int, dice: random.Random) -> dict[str, Any]:
    return {
        "title": f"past {position}",
        "description": " ".join(dice.choices(WORDS, k=15)),
        "created_at": "2020-01-01T00:00:00Z",
        "created_by": dice.choice(WORDS),
        "priority": dice.randrange(10),
    }
