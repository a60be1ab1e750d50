"""Compares what clients were told with what the log holds. Pure: requests and events in, broken promises out."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .answers import Answer, Request, Verdict

TYPE_OF = {"create": "NoteCreated", "patch": "NoteEdited", "delete": "NoteDeleted"}
COMPARED = ("title", "description", "created_at", "created_by", "priority", "version", "position")


@dataclass(frozen=True)
class Event:
    """An event as any SQLite tool reads it from the log."""

    position: int
    note_id: int
    version: int
    type: str
    data: dict[str, Any]

    @property
    def marker(self) -> str:
        """What names the request that made it."""
        return deletion_of(self.note_id) if self.type == "NoteDeleted" else str(self.data.get("title"))


def deletion_of(note_id: int) -> str:
    """The marker of the only request that deletes this note."""
    return f"delete {note_id}"


def read_events(data: Path, mode: str = "ro") -> list[Event]:
    """All events of a data folder, in order. A log that was cut off at its birth has no file or no table yet."""
    if not (data / "events.db").exists():
        return []
    with closing(sqlite3.connect(f"file:{data / 'events.db'}?mode={mode}", uri=True)) as log:
        log.execute("PRAGMA synchronous = OFF")  # closing a copy may write; nobody needs that on disk
        if not log.execute("SELECT 1 FROM sqlite_master WHERE name = 'events'").fetchall():
            return []
        rows = log.execute("SELECT position, note_id, version, type, data FROM events ORDER BY position").fetchall()
    return [Event(position, note, version, type_, json.loads(data)) for position, note, version, type_, data in rows]


def broken_promises(requests: Iterable[Request], events: Sequence[Event], past: Sequence[Event] = ()) -> list[str]:
    """Every promise to these clients that this log breaks; empty when all is well.

    Promised: what was answered is there once, where the answer said; what was refused is not there; what is unknown
    is there at most once; positions and versions have no hole; what came after an answer stands after it; and what
    was there before (`past`) is there unchanged.
    """
    requests, since = list(requests), events[len(past) :]
    return [
        *_changed_past(past, events),
        *_holes(events),
        *_odd_versions(events),
        *_odd_fates(requests, since),
        *_wrong_order(requests),
        *_of_nobody(requests, since),
    ]


def _changed_past(past: Sequence[Event], events: Sequence[Event]) -> Iterator[str]:
    for number, event in enumerate(past):
        if number >= len(events) or events[number] != event:
            yield f"the past has changed at {event.position}: was {event}"
            return


def _holes(events: Sequence[Event]) -> Iterator[str]:
    for expected, event in enumerate(events, start=1):
        if event.position != expected:
            yield f"expected position {expected}, got {event.position}"
            return


def _odd_versions(events: Sequence[Event]) -> Iterator[str]:
    versions: Counter[int] = Counter()
    for event in events:
        versions[event.note_id] += 1
        expected = versions[event.note_id]
        if event.version != expected:
            yield f"{event.position}: expected version {expected} of {event.note_id}, got {event.version}"
        if (event.version == 1) != (event.type == "NoteCreated"):
            yield f"{event.position}: {event.type} has version {event.version}"
    if list(versions) != list(range(1, len(versions) + 1)):
        yield "note ids are not 1, 2, 3, … in the order of creation"


def _odd_fates(requests: Sequence[Request], events: Sequence[Event]) -> Iterator[str]:
    found = defaultdict(list)
    for event in events:
        found[event.marker].append(event)
    for request in requests:
        yield from _odd_fate(request, found[request.marker])


def _odd_fate(request: Request, found: Sequence[Event]) -> Iterator[str]:
    places = [event.position for event in found]
    if len(found) > 1:
        yield f"doubled: {request.marker!r} is at {places}"
    if request.verdict is Verdict.REFUSED and found:
        yield f"refused, yet there: {request.marker!r} is at {places}, answered {request.answers[-1].status}"
    if request.verdict is Verdict.OK and not found:
        yield f"lost: {request.marker!r} was answered with position {request.first_ok.position}"
    for event in found:
        if event.type != TYPE_OF[request.kind] or request.note_id not in (None, event.note_id):
            yield f"{request.marker!r} became {event.type} of note {event.note_id} at {event.position}"
        for answer in request.answers:
            yield from _odd_answer(request, answer, event)


def _odd_answer(request: Request, answer: Answer, event: Event) -> Iterator[str]:
    if answer.verdict is not Verdict.OK:
        return
    told = (answer.position, answer.note_id, answer.version or event.version)  # a deletion tells no version
    if told != (event.position, event.note_id, event.version):
        yield f"{request.marker!r} was told {told}, is {(event.position, event.note_id, event.version)}"


def _wrong_order(requests: Sequence[Request]) -> Iterator[str]:
    """A request that was sent after another one was answered has the higher position."""
    fresh = [
        answer
        for request in requests
        for answer in request.answers
        if answer.verdict is Verdict.OK and len(request.answers) == 1
    ]
    answered = sorted(fresh, key=lambda answer: answer.at_ns)
    highest, next_answered = 0, 0
    for answer in sorted(fresh, key=lambda answer: answer.asked_ns):
        while next_answered < len(answered) and answered[next_answered].at_ns < answer.asked_ns:
            highest = max(highest, answered[next_answered].position)
            next_answered += 1
        if answer.position <= highest:
            yield f"out of order: {answer.position} was asked for after {highest} was answered"


def _of_nobody(requests: Sequence[Request], events: Sequence[Event]) -> Iterator[str]:
    asked = {request.marker for request in requests}
    for event in events:
        if event.marker not in asked:
            yield f"nobody asked for {event.type} {event.marker!r} at {event.position}"


def fold(events: Iterable[Event]) -> dict[int, dict[str, Any]]:
    """The notes as the log says that they are now."""
    notes: dict[int, dict[str, Any]] = {}
    deleted: dict[int, dict[str, Any]] = {}
    for event in events:
        if event.type == "NoteDeleted":
            deleted[event.note_id] = notes.pop(event.note_id)
            continue
        before = deleted.pop(event.note_id, None) or notes.get(event.note_id, {})
        notes[event.note_id] = {**before, **event.data, "version": event.version, "position": event.position}
    return notes


def differences(events: Iterable[Event], notes: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """Where the notes that a reader was shown are not the fold of the log."""
    expected = fold(events)
    return [
        f"note {note_id}: expected {was}, got {is_}"
        for note_id in sorted(expected.keys() | notes.keys())
        if (was := _compared(expected.get(note_id))) != (is_ := _compared(notes.get(note_id)))
    ]


def _compared(note: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if note is None else {name: note[name] for name in COMPARED if name in note}
