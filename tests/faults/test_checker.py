"""The checker itself: a harness that finds nothing must be known to find something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from .answers import Answer, Request, Verdict
from .checker import Event, broken_promises, deletion_of, differences, fold

pytestmark = pytest.mark.faults


def answered(position: int, note_id: int, version: int) -> Answer:
    return Answer(Verdict.OK, 200, position, note_id, version, asked_ns=position * 10, at_ns=position * 10 + 5)


def create(marker: str, *answers: Answer, key: str | None = None) -> Request:
    return Request(marker, "create", "POST", "/notes", {"title": marker}, key, answers=list(answers))


def created(position: int, note_id: int, marker: str) -> Event:
    return Event(position, note_id, 1, "NoteCreated", {"title": marker, "priority": 0})


REFUSED = Answer(Verdict.REFUSED, 503)
UNKNOWN = Answer(Verdict.UNKNOWN)

EVENTS = [
    created(1, 1, "a"),
    created(2, 2, "b"),
    Event(3, 1, 2, "NoteEdited", {"title": "c"}),
    Event(4, 2, 2, "NoteDeleted", {}),
    created(5, 3, "d"),
]
REQUESTS = [
    create("a", answered(1, 1, 1)),
    create("b", answered(2, 2, 1)),
    Request("c", "patch", "PATCH", "/notes/1", {"title": "c"}, note_id=1, answers=[answered(3, 1, 2)]),
    Request(deletion_of(2), "delete", "DELETE", "/notes/2", note_id=2, answers=[answered(4, 2, 0)]),
    create("d", UNKNOWN, answered(5, 3, 1), key="d"),
    create("refused", REFUSED),
    create("unknown", UNKNOWN),
]


def test_a_log_that_keeps_every_promise_passes() -> None:
    """Nothing is said of a log that holds what was answered, and nothing else."""
    assert broken_promises(REQUESTS, EVENTS) == []


def test_an_unknown_request_may_be_there_once() -> None:
    """What has no answer may have been appended, or not."""
    assert broken_promises(REQUESTS, [*EVENTS, created(6, 4, "unknown")]) == []


def test_what_was_there_before_belongs_to_nobody_and_stays() -> None:
    """The past needs no request; changed, cut off or doubled it is named."""
    past = EVENTS[:2]
    assert broken_promises(REQUESTS[2:], EVENTS, past) == []
    for events in ([created(1, 1, "z"), *EVENTS[1:]], EVENTS[:1]):
        assert any("the past has changed" in line for line in broken_promises([], events, past)), events


PLANTED: dict[str, Callable[[list[Event]], list[Event]]] = {
    "lost": lambda events: events[:-1],
    "doubled": lambda events: [*events, created(6, 4, "a")],
    "doubled: 'unknown'": lambda events: [*events, created(6, 4, "unknown"), created(7, 5, "unknown")],
    "refused, yet there": lambda events: [*events, created(6, 4, "refused")],
    "expected position 3, got 4": lambda events: [*events[:2], *events[3:]],
    "expected position 1, got 2": lambda events: [replace(event, position=event.position + 1) for event in events],
    "nobody asked": lambda events: [*events, created(6, 4, "stranger")],
    "expected version 2 of 1": lambda events: [*events[:2], replace(events[2], version=1), *events[3:]],
    "is (1, 2, 1)": lambda events: [replace(events[1], position=1), replace(events[0], position=2), *events[2:]],
    "in the order of creation": lambda events: [*events[:-1], replace(events[-1], note_id=9)],
    "became NoteDeleted of note 1": lambda events: [*events[:3], Event(4, 1, 3, "NoteDeleted", {}), events[4]],
    "was told (5, 3, 1)": lambda events: [*events[:-1], replace(events[-1], note_id=4)],
}


@pytest.mark.parametrize("said", PLANTED)
def test_a_planted_bug_is_caught(said: str) -> None:
    """A write that is lost, doubled, misplaced, swapped or out of nowhere is said by name."""
    requests = [*REQUESTS, Request(deletion_of(1), "delete", "DELETE", "/notes/1", note_id=2, answers=[UNKNOWN])]
    assert any(said in broken for broken in broken_promises(requests, PLANTED[said](EVENTS)))


def test_a_write_that_overtook_an_answer_is_caught() -> None:
    """A request that was sent after an answer must stand after it in the log."""
    late = replace(answered(1, 1, 1), asked_ns=100, at_ns=105)
    requests = [create("a", late), *REQUESTS[1:]]
    assert any("out of order" in broken for broken in broken_promises(requests, EVENTS))


@pytest.mark.parametrize(
    ("answers", "key", "verdict"),
    [
        ([], None, Verdict.UNKNOWN),
        ([UNKNOWN, answered(1, 1, 1)], "k", Verdict.OK),
        ([answered(1, 1, 1), REFUSED], "k", Verdict.OK),
        ([REFUSED], None, Verdict.REFUSED),
        ([UNKNOWN, REFUSED], "k", Verdict.UNKNOWN),
        ([UNKNOWN, Answer(Verdict.REFUSED, 412)], "k", Verdict.REFUSED),
    ],
)
def test_the_verdict_weighs_all_the_answers(answers: list[Answer], key: str | None, verdict: Verdict) -> None:
    """A 503 to a repeat does not say that the first sending was refused; a judgement does."""
    assert create("a", *answers, key=key).verdict is verdict


def test_an_answer_after_the_cut_is_not_known_at_the_cut() -> None:
    """A power cut is held only to what had been answered before it."""
    request = create("a", answered(1, 1, 1))
    assert request.as_known_at(14).verdict is Verdict.UNKNOWN
    assert request.as_known_at(15).verdict is Verdict.OK


def test_the_fold_knows_deletion_and_restoration() -> None:
    """A deleted note is gone; a restored one is what it was, with what the restoration changed."""
    notes = fold([*EVENTS, Event(6, 2, 3, "NoteRestored", {"priority": 5})])
    assert notes[2] == {"title": "b", "priority": 5, "version": 3, "position": 6}
    assert 2 not in fold(EVENTS)


def test_notes_that_are_not_the_fold_are_caught() -> None:
    """A note that is missing, left over or unlike its events is said."""
    notes = fold(EVENTS)
    assert differences(EVENTS, notes) == []
    assert len(differences(EVENTS, {1: notes[1] | {"priority": 1}, 2: notes[1]})) == 3
