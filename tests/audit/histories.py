"""Random pasts: events as an export has them, and what they make of the notes, told by a model of our own.

The model knows nothing of the program: it is what docs/EVENTS.md says, with dictionaries.
"""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]

WORDS = ("Milk", "bread", "Zoë", "Übung", "音楽", 'a "quoted" word', "two\nlines", "tab\there", "50 %", "\\", "🍞")
AUTHORS = ("ada", "bob", "Zoë", "")
BIRTH = datetime(2024, 2, 28, 23, 59, tzinfo=UTC)
# Of a hundred events so many go back in time, because a clock was set.
CLOCK_GOES_BACK = 5
EPOCH = "0123456789abcdef0123456789abcdef"


class History:
    """A log of ``events`` events. ``records``: as an export has them. ``notes[p]``: the notes as of position p."""

    def __init__(self, dice: random.Random, events: int) -> None:
        self.records: list[Json] = []
        self.notes: list[dict[int, Json]] = [{}]
        self._dice = dice
        self._clock = BIRTH
        self._created = 0
        for _ in range(events):
            self._append(*self._event())

    def lines(self) -> list[bytes]:
        """The export."""
        return [json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in self.records]

    def living(self, position: int) -> list[Json]:
        """The notes that were there at a position, by id."""
        return [note for _, note in sorted(self.notes[position].items()) if "deleted_at" not in note]

    def as_of(self, time: datetime) -> int:
        """The last position whose time is not after ``time``."""
        at = _microseconds(time)
        return max((record["position"] for record in self.records if record["at"] <= at), default=0)

    def _event(self) -> tuple[str, int, Json]:
        notes = self.notes[-1]
        if not notes or self._dice.random() < 0.4:
            self._created += 1
            return "NoteCreated", self._created, self._creation()
        note = self._dice.choice(list(notes.values()))
        if "deleted_at" in note:
            return "NoteRestored", note["id"], self._changes(note) if self._dice.random() < 0.5 else {}
        if self._dice.random() < 0.2:
            return "NoteDeleted", note["id"], {}
        return "NoteEdited", note["id"], self._changes(note)

    def _creation(self) -> Json:
        return {
            "title": self._text(3),
            "description": self._text(10),
            "created_at": self._dice.choice(("2017-08-23T00:00:00Z", "2017-08-23T00:00:00.5Z", "1999-01-01T12:30:00Z")),
            "created_by": self._dice.choice(AUTHORS),
            "priority": self._dice.randrange(-3, 4),
        }

    def _changes(self, note: Json) -> Json:
        wanted = self._creation()
        names = self._dice.sample(list(wanted), self._dice.randrange(1, 4))
        changes = {name: wanted[name] for name in names if wanted[name] != note[name]}
        return changes or {"title": note["title"] + "!"}

    def _text(self, words: int) -> str:
        return " ".join(self._dice.choices(WORDS, k=words))

    def _append(self, type_: str, note_id: int, data: Json) -> None:
        position = len(self.records) + 1
        self._tick()
        before = self.notes[-1].get(note_id, {})
        version = before.get("version", 0) + 1
        has_key = self._dice.random() < 0.5
        record = {
            "position": position,
            "note_id": note_id,
            "version": version,
            "type": type_,
            "schema": 1,
            "at": _microseconds(self._clock),
            "actor": self._dice.choice(AUTHORS),
            "command": self._dice.randbytes(16).hex() if has_key else None,
            "part": 0,
            "request": self._dice.randbytes(16).hex() if has_key else None,
            "meta": self._dice.choice(("{}", '{"request_id":"5f0c"}')),
            "salt": self._dice.randbytes(16).hex(),
            "data": self._written(data),
            "epoch": EPOCH,
        }
        self.records.append(record)
        note = {"id": note_id} | {name: value for name, value in before.items() if name != "deleted_at"} | data
        note |= {"version": version, "updated_at": text_of(self._clock), "position": position}
        if type_ == "NoteDeleted":
            note["deleted_at"] = note["updated_at"]
        self.notes.append(self.notes[-1] | {note_id: note})

    def _written(self, data: Json) -> str:
        """As the service writes it, or in other words that mean the same."""
        if self._dice.random() < 0.7:
            return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        return json.dumps(data, ensure_ascii=self._dice.random() < 0.5)

    def _tick(self) -> None:
        if self._dice.randrange(100) < CLOCK_GOES_BACK:
            self._clock -= timedelta(seconds=self._dice.randrange(1, 3000))
        self._clock += timedelta(microseconds=self._dice.choice((0, 1, 999_999, 1_000_000, 30_000_000)))


def text_of(time: datetime) -> str:
    """The time as the service writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def json_lines(body: bytes) -> Iterator[Json]:
    """The objects of an NDJSON body."""
    return (json.loads(line) for line in body.decode().split("\n") if line)
