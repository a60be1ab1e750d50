"""What concurrent clients saw can be explained by the log; and the checker that says so is known to find bugs."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.process import Server, until
from tests.safety.history import NEVER, Event, Operation, Outcome, broken_promises, read_log, summary
from tests.safety.recorder import Recorder
from tests.sizes import count

pytestmark = pytest.mark.faults

ROUNDS = 1 + count("history_kills")
OPERATIONS = 500  # in each round


async def test_histories_of_concurrent_clients_are_linearizable(server: Server, dice: random.Random) -> None:
    """Reads, writes, cut replies and repeats on a few notes, with kills between: the log explains them all."""
    await server.start()
    recorder = Recorder(server, dice.randrange(2**32))
    async with recorder.working():
        for number in range(1, ROUNDS + 1):
            enough = number * OPERATIONS
            await until(lambda enough=enough: len(recorder.operations) >= enough, 60, f"{enough} operations")
            if number < ROUNDS:
                await server.kill()
                await server.start()
    events = read_log(server.data)
    print(summary(recorder.operations, events))
    assert recorder.oddities == []
    broken = broken_promises(recorder.operations, events)
    assert not broken, f"{len(broken)} broken promises:\n" + "\n".join(broken[:20])


def write(at: int, position: int, note_id: int, version: int, marker: str | None) -> Operation:
    """A write that was answered before the next one was asked."""
    return Operation(1, at * 10, at * 10 + 5, Outcome.OK, True, note_id, marker, position, version)


def read(at: int, position: int, note_id: int, version: int, title: str) -> Operation:
    """A read of the same kind."""
    return Operation(2, at * 10, at * 10 + 5, Outcome.OK, False, note_id, None, position, seen=version, title=title)


EVENTS = [
    Event(1, 1, 1, "NoteCreated", "a", "a"),
    Event(2, 2, 1, "NoteCreated", "b", "b"),
    Event(3, 1, 2, "NoteEdited", "c", "c"),
    Event(4, 1, 3, "NoteDeleted", None, None),
    Event(5, 1, 4, "NoteRestored", None, "c"),
    Event(6, 2, 2, "NoteEdited", "d", "d"),
]
ABSENT = Operation(3, 55, 58, Outcome.REFUSED, False, 1, absent=True)
OPERATIONS_DONE = [
    write(1, 1, 1, 1, "a"),
    write(2, 2, 2, 1, "b"),
    write(3, 3, 1, 2, "c"),
    read(4, 3, 1, 2, "c"),
    write(5, 4, 1, 3, None),
    ABSENT,
    replace(read(6, 5, 1, 4, "c"), position=None),  # a restoration
    write(7, 6, 2, 2, "d"),
    Operation(4, 10, NEVER, Outcome.UNKNOWN, True, 2, "never seen"),
    Operation(4, 75, 79, Outcome.REFUSED, True, 2, "refused", seen=2, title="d"),
    Operation(4, 1, 3, Outcome.REFUSED, False, 1, absent=True),
]


def test_a_good_history_is_explained() -> None:
    """Nothing is said of a history that the log explains, unknown and refused operations among it."""
    assert broken_promises(OPERATIONS_DONE, EVENTS) == []


def test_what_overlaps_may_be_in_either_order() -> None:
    """Of two writes at the same time either may be first, and a read at that time may see either."""
    together = [
        replace(write(3, 3, 1, 2, "c"), asked_ns=30, answered_ns=90),
        replace(write(3, 2, 2, 1, "b"), asked_ns=31, answered_ns=89),
        replace(read(4, 1, 1, 1, "a"), asked_ns=33, answered_ns=88),
        replace(read(4, 3, 1, 2, "c"), asked_ns=34, answered_ns=87),
    ]
    assert broken_promises([OPERATIONS_DONE[0], *together], EVENTS[:3]) == []


def test_an_unknown_write_may_be_there() -> None:
    """A write whose answer never came may stand in the log, at any place after it was asked."""
    unknown = Operation(4, 10, NEVER, Outcome.UNKNOWN, True, 2, "late")
    assert broken_promises([*OPERATIONS_DONE, unknown], [*EVENTS, Event(7, 2, 3, "NoteEdited", "late", "late")]) == []


History = tuple[list[Operation], list[Event]]


def _renumbered(events: list[Event]) -> list[Event]:
    return [replace(event, position=position) for position, event in enumerate(events, start=1)]


def _with(at: int, operation: Operation) -> list[Operation]:
    return [*OPERATIONS_DONE[:at], operation, *OPERATIONS_DONE[at + 1 :]]


# A bug of the service, as it would show in the history; and what the checker must say.
PLANTED: dict[str, tuple[Callable[[], History], str]] = {
    "a lost write": (lambda: (OPERATIONS_DONE, EVENTS[:-1]), "lost"),
    "a lost write in the middle": (lambda: (OPERATIONS_DONE, _renumbered([*EVENTS[:1], *EVENTS[2:]])), "lost"),
    "a stale read after an answer": (lambda: (_with(3, read(4, 2, 1, 1, "a")), EVENTS), "stale read"),
    "a stale read that says it is fresh": (lambda: (_with(3, read(4, 3, 1, 1, "a")), EVENTS), "stale read"),
    "a stale read of what was gone": (
        lambda: (_with(5, replace(read(0, 4, 1, 2, "c"), asked_ns=56, answered_ns=58)), EVENTS),
        "stale read",
    ),
    "a note absent before it was deleted": (
        lambda: (_with(5, replace(ABSENT, asked_ns=36, answered_ns=39)), EVENTS),
        "stale read",
    ),
    "a note absent after it was restored": (
        lambda: (_with(5, replace(ABSENT, asked_ns=76, answered_ns=79)), EVENTS),
        "stale read",
    ),
    "a read of what never was": (lambda: (_with(3, read(4, 3, 1, 2, "never")), EVENTS), "misread"),
    "a doubled command": (
        lambda: (OPERATIONS_DONE, [*EVENTS, Event(7, 2, 3, "NoteEdited", "d", "d")]),
        "doubled",
    ),
    "a swapped order": (
        lambda: (
            [write(1, 2, 1, 1, "a"), write(2, 1, 2, 1, "b")],
            [Event(1, 2, 1, "NoteCreated", "b", "b"), Event(2, 1, 1, "NoteCreated", "a", "a")],
        ),
        "swapped order",
    ),
    "a swapped order on one note": (
        lambda: (
            [write(1, 1, 1, 1, "a"), write(2, 3, 1, 3, "b"), write(3, 2, 1, 2, "c")],
            [EVENTS[0], Event(2, 1, 2, "NoteEdited", "c", "c"), Event(3, 1, 3, "NoteEdited", "b", "b")],
        ),
        "note 1: swapped order",
    ),
    "a version given twice": (
        lambda: (OPERATIONS_DONE, [*EVENTS[:-1], replace(EVENTS[-1], version=1)]),
        "version: expected 2 of note 2, got 1",
    ),
    "a version told twice": (lambda: (_with(7, write(7, 6, 2, 1, "d")), EVENTS), "lost"),
    "a position told twice": (lambda: ([*OPERATIONS_DONE, write(8, 6, 2, 2, None)], EVENTS), "given twice"),
    "a hole": (lambda: (OPERATIONS_DONE, [*EVENTS[:-1], replace(EVENTS[-1], position=9)]), "position: expected 6"),
    "a refused write that is there": (
        lambda: (OPERATIONS_DONE, [*EVENTS, Event(7, 2, 3, "NoteEdited", "refused", "refused")]),
        "refused, yet there",
    ),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug: str) -> None:
    """Each bug, planted alone into a good history, is found and called by its name."""
    plant, said = PLANTED[bug]
    operations, events = plant()
    broken = broken_promises(operations, events)
    assert any(said in line for line in broken), broken


async def test_a_bug_planted_into_a_real_history_is_found(server: Server, dice: random.Random) -> None:
    """The five bugs are found in the history of real clients, too, wherever they are planted."""
    await server.start()
    recorder = Recorder(server, dice.randrange(2**32))
    async with recorder.working():
        await until(lambda: len(recorder.operations) >= 300, 60, "300 operations")
    operations, events = recorder.operations, read_log(server.data)
    assert broken_promises(operations, events) == []
    done = [o for o in operations if o.writes and o.outcome is Outcome.OK and o.marker and o.version and o.version > 1]
    last = max(operation.position or 0 for operation in done)
    for _ in range(20):
        victim = dice.choice(done)
        at = (victim.position or 0) - 1
        lost = _renumbered([*events[:at], *events[at + 1 :]])
        doubled = [*events, replace(events[at], position=len(events) + 1, version=events[-1].version + 1)]
        twice = [*events[:at], replace(events[at], version=events[at].version - 1), *events[at + 1 :]]
        late = max(operation.answered_ns for operation in operations if operation.answered_ns < NEVER)
        before = next(e for e in events if (e.note_id, e.version) == (victim.note_id, (victim.version or 0) - 1))
        stale = Operation(
            9, late + 1, late + 2, Outcome.OK, False, victim.note_id, None, len(events), seen=before.version,
            title=before.title,
        )  # fmt: skip
        swapped = replace(victim, asked_ns=late + 1, answered_ns=late + 2)
        rest = [operation for operation in operations if operation is not victim]
        assert broken_promises(operations, lost), f"lost: {victim}"
        assert broken_promises(operations, doubled), f"doubled: {victim}"
        assert broken_promises(operations, twice), f"version given twice: {victim}"
        assert broken_promises([*operations, stale], events), f"stale: {victim}"
        assert victim.position == last or broken_promises([*rest, swapped], events), f"swapped: {victim}"
