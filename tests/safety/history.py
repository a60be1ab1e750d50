"""A checker of histories: could the answers that clients got, at the times they got them, have come from this log?

Clients write down each operation: when it was asked, when it was answered, and what it was told. The log is the witness
of the order. A history is good when each note's operations fit into the log's order without any of them taking effect
before it was asked or after it was answered (linearizability, Herlihy and Wing 1990). With the order given, one pass is
enough: in the order of the log, no operation may have been answered before one that stands earlier was asked. Pure.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

NEVER = 2**63
"""When an operation is answered whose answer never came."""


class Outcome(StrEnum):
    """What a client knows of its operation."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Operation:
    """One operation of a client. Times are of a monotonic clock, in nanoseconds.

    A write has ``marker``: the title that it writes, unlike all others (a deletion writes none: it is known by its
    position). A read, or anything else that shows the note and may have appended nothing, has ``seen``: the version
    that it showed, and ``title``. ``absent``: it said that there is no note. ``position``: of a write, that of its
    event; of a read, how much of the log it shows.
    """

    client: int
    asked_ns: int
    answered_ns: int
    outcome: Outcome
    writes: bool
    note_id: int | None = None
    marker: str | None = None
    position: int | None = None
    version: int | None = None
    seen: int | None = None
    title: str | None = None
    absent: bool = False

    def __str__(self) -> str:
        kind = "write" if self.writes else "read"
        return f"{kind} of client {self.client} on note {self.note_id} ({self.marker or self.title!r}, {self.outcome})"


@dataclass(frozen=True)
class Event:
    """An event of the log, with the state that it left its note in. ``title`` None: deleted."""

    position: int
    note_id: int
    version: int
    type: str
    marker: str | None
    title: str | None


def read_log(data: Path) -> list[Event]:
    """The events of a data folder, in order, each with the title that its note then has."""
    with sqlite3.connect(f"file:{data / 'events.db'}?mode=ro", uri=True) as log:
        rows = log.execute("SELECT position, note_id, version, type, data FROM events ORDER BY position").fetchall()
    log.close()
    titles: dict[int, str] = {}
    events = []
    for position, note_id, version, type_, data_ in rows:
        marker = json.loads(data_).get("title")
        titles[note_id] = marker or titles[note_id]
        events.append(
            Event(position, note_id, version, type_, marker, None if type_ == "NoteDeleted" else titles[note_id])
        )
    return events


def broken_promises(operations: Iterable[Operation], events: Sequence[Event]) -> list[str]:
    """All that cannot be; empty for a history that this log explains."""
    operations = list(operations)
    return [
        *_misnumbered(events),
        *_misplaced(operations, events),
        *_misread(operations, events),
        *_out_of_order(operations),
        *_not_linearizable(operations, events),
    ]


def _misnumbered(events: Sequence[Event]) -> Iterator[str]:
    versions: Counter[int] = Counter()
    for expected, event in enumerate(events, start=1):
        versions[event.note_id] += 1
        if event.position != expected:
            yield f"position: expected {expected}, got {event.position}"
        if event.version != versions[event.note_id]:
            yield f"version: expected {versions[event.note_id]} of note {event.note_id}, got {event.version}"


def _misplaced(operations: Sequence[Operation], events: Sequence[Event]) -> Iterator[str]:
    """Writes that are lost, doubled, elsewhere than was said, or there although refused."""
    by_position = {event.position: event for event in events}
    places: defaultdict[str | None, list[int]] = defaultdict(list)
    for event in events:
        places[event.marker].append(event.position)
    told: Counter[int] = Counter()
    for operation in operations:
        if not operation.writes:
            continue
        if operation.marker is not None:
            yield from _odd_places(operation, places[operation.marker])
        if operation.outcome is Outcome.OK and operation.position is not None:
            told[operation.position] += 1
            if not _is_of(by_position.get(operation.position), operation):
                yield f"lost: {operation} was told position {operation.position}, where it is not"
    for position, count in told.items():
        if count > 1:
            yield f"given twice: position {position} was told to {count} operations"


def _odd_places(operation: Operation, places: list[int]) -> Iterator[str]:
    if len(places) > 1:
        yield f"doubled: {operation} is at {places}"
    if operation.outcome is Outcome.REFUSED and places:
        yield f"refused, yet there: {operation} is at {places}"


def _is_of(event: Event | None, operation: Operation) -> bool:
    return (
        event is not None
        and operation.note_id in (None, event.note_id)
        and operation.version in (None, event.version)
        and (operation.marker is None or operation.marker == event.marker)
    )


def _misread(operations: Sequence[Operation], events: Sequence[Event]) -> Iterator[str]:
    """Reads of what the log does not say."""
    states = {(event.note_id, event.version): event for event in events}
    for operation in operations:
        if operation.seen is None or operation.note_id is None:
            continue
        event = states.get((operation.note_id, operation.seen))
        if event is None or event.title != operation.title:
            yield f"misread: {operation} saw version {operation.seen} as {operation.title!r}"


def _out_of_order(operations: Sequence[Operation]) -> Iterator[str]:
    """Over all notes: writes at their position, reads as far as they said that they show the log."""
    placed = [each for each in operations if each.outcome is Outcome.OK and each.position is not None]
    placed.sort(key=lambda operation: (operation.position, not operation.writes, operation.asked_ns))
    yield from _too_early(placed)


def _not_linearizable(operations: Sequence[Operation], events: Sequence[Event]) -> Iterator[str]:
    """Note by note: writes at their version, reads after the version that they saw."""
    at_position = {event.position: event for event in events}
    by_marker = {event.marker: event for event in events if event.marker is not None}
    of_note: defaultdict[int, list[tuple[int, bool, Operation]]] = defaultdict(list)
    for operation in operations:
        if operation.writes and operation.outcome is not Outcome.REFUSED:
            event = at_position.get(operation.position or 0) or by_marker.get(operation.marker)
            if event is not None:
                of_note[event.note_id].append((event.version, False, operation))
        elif operation.seen is not None and operation.note_id is not None:
            of_note[operation.note_id].append((operation.seen, True, operation))
    for note_id, placed in of_note.items():
        placed.sort(key=lambda item: (*item[:2], item[2].asked_ns))
        for broken in _too_early([operation for *_, operation in placed]):
            yield f"note {note_id}: {broken}"
    yield from _absent_while_there(operations, events)


def _too_early(placed: Sequence[Operation]) -> Iterator[str]:
    """Operations in the order of the log of which one was answered before an earlier one was asked."""
    latest: Operation | None = None
    for operation in placed:
        if latest is not None and operation.answered_ns < latest.asked_ns:
            what = "swapped order" if latest.writes else "stale read"
            yield f"{what}: {latest} stands before {operation}, which was answered before the first was asked"
        if latest is None or operation.asked_ns > latest.asked_ns:
            latest = operation


def _absent_while_there(operations: Sequence[Operation], events: Sequence[Event]) -> Iterator[str]:
    """It was said that there is no note, at no moment of which the log, as it may have been, says so."""
    gone = _gone(operations, events)
    for operation in operations:
        if operation.absent and operation.note_id in gone:
            times = gone[operation.note_id]
            if not any(begin <= operation.answered_ns and operation.asked_ns <= end for begin, end in times):
                yield f"stale read: {operation} said that there is no note {operation.note_id}"


def _gone(operations: Sequence[Operation], events: Sequence[Event]) -> dict[int, list[tuple[int, int]]]:
    """When each note may have been absent: from when a deletion was asked for until the next event was in force."""
    asked_ns = {operation.position: operation.asked_ns for operation in operations if operation.writes}
    lives: defaultdict[int, list[Event]] = defaultdict(list)
    for event in events:
        lives[event.note_id].append(event)
    known_by = _known_by(operations)
    return {
        note_id: [
            (0, known_by.get((note_id, 1), NEVER)),
            *(
                (asked_ns.get(event.position, 0), known_by.get((note_id, event.version + 1), NEVER))
                for event in life
                if event.title is None
            ),
        ]
        for note_id, life in lives.items()
    }


def _known_by(operations: Sequence[Operation]) -> dict[tuple[int, int], int]:
    """By note and version: when it was in force at the latest, because somebody was told of it, or of a later one."""
    told: dict[tuple[int, int], int] = {}
    last: Counter[int] = Counter()
    for operation in operations:
        version = operation.seen or operation.version
        if version is not None and operation.note_id is not None:
            key = (operation.note_id, version)
            told[key] = min(told.get(key, NEVER), operation.answered_ns)
            last[operation.note_id] = max(last[operation.note_id], version)
    for note_id, version in last.items():
        for earlier in range(version - 1, 0, -1):
            later = told.get((note_id, earlier + 1), NEVER)
            told[note_id, earlier] = min(told.get((note_id, earlier), NEVER), later)
    return told


def summary(operations: Sequence[Operation], events: Sequence[Event]) -> dict[str, Any]:
    """What a history was made of, to be printed."""
    outcomes = Counter(f"{operation.outcome} {'writes' if operation.writes else 'reads'}" for operation in operations)
    return {"events": len(events), "notes": len({event.note_id for event in events}), **outcomes}
