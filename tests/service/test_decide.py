"""``decide`` and ``evolve``, given / when / then: given a note's events, when a command comes, then one or none."""

from typing import Any

import pytest
from msgspec import UNSET

from events.errors import MalformedEvent
from events.note import Event, Note, NoteCreated, NoteDeleted, NoteEdited, NoteRestored, Payload, evolve
from service.errors import ConditionFailed, ConditionMissing, NoSuchNote, Refused
from service.notes.commands import (
    Circumstances,
    Command,
    Condition,
    CreateNote,
    DeleteNote,
    PatchNote,
    ReplaceNote,
    RestoreNote,
    decide,
)

NOW = "2026-01-02T03:04:05.000006Z"
EARLIER = "2017-08-23T00:00:00Z"

CREATED = NoteCreated("Milk", "two litres", EARLIER, "ada", 3)
EDITED = NoteEdited(priority=9)
DELETED = NoteDeleted()
RESTORED = NoteRestored()


def given(*payloads: Payload) -> Note | None:
    """The note after these events; the n-th is at position 10 n."""
    note: Note | None = None
    for version, payload in enumerate(payloads, 1):
        note = evolve(note, Event(10 * version, 1, version, f"2026-01-01T00:00:0{version}.000000Z", "ada", payload))
    return note


def when(note: Note | None, command: Command, *if_match: int, required: bool = False) -> Payload | None:
    """What the command brings about; ``if_match`` are the versions that the condition names, if there is one."""
    condition = Condition(frozenset(if_match)) if if_match else None
    return decide(command, note, Circumstances("bob", NOW, condition, required))


WHOLE = {"title": "Milk", "description": "two litres", "priority": 3}

THEN: list[tuple[str, list[Payload], Command, Payload | None]] = [
    (
        "a creation has every field, and its defaults are the moment and the actor",
        [],
        CreateNote("Milk"),
        NoteCreated("Milk", "", NOW, "bob", 0),
    ),
    (
        "a creation takes what the client says, an empty author too",
        [],
        CreateNote("Milk", "x", EARLIER, "", -5),
        NoteCreated("Milk", "x", EARLIER, "", -5),
    ),
    (
        "a replacement names what changed and nothing else",
        [CREATED],
        ReplaceNote("Tea"),
        NoteEdited("Tea", "", priority=0),
    ),
    ("a replacement by the same changes nothing", [CREATED], ReplaceNote(**WHOLE), None),
    (
        "a replacement by the same, with the same author and time, changes nothing",
        [CREATED],
        ReplaceNote(**WHOLE, created_at=EARLIER, created_by="ada"),
        None,
    ),
    (
        "a replacement takes another author and time",
        [CREATED],
        ReplaceNote(**WHOLE, created_at=NOW, created_by=""),
        NoteEdited(created_at=NOW, created_by=""),
    ),
    ("a patch names what changed", [CREATED], PatchNote(title="Milk", priority=4), NoteEdited(priority=4)),
    (
        "a patch to a default is a change",
        [CREATED],
        PatchNote(description="", priority=0),
        NoteEdited(UNSET, "", priority=0),
    ),
    ("an empty patch changes nothing", [CREATED], PatchNote(), None),
    ("a patch is judged on the state after all the events", [CREATED, EDITED], PatchNote(priority=9), None),
    ("a deletion", [CREATED], DeleteNote(), NoteDeleted()),
    ("a restored note can be deleted again", [CREATED, DELETED, RESTORED], DeleteNote(), NoteDeleted()),
    ("a restore brings a deleted note back", [CREATED, DELETED], RestoreNote(), NoteRestored()),
    ("a restore of a note that is there changes nothing", [CREATED], RestoreNote(), None),
]


@pytest.mark.parametrize(("events", "command", "then"), [row[1:] for row in THEN], ids=[row[0] for row in THEN])
def test_a_command_brings_about_one_event_or_none(
    events: list[Payload], command: Command, then: Payload | None
) -> None:
    """What a command brings about follows from the note's events and the command alone."""
    assert when(given(*events), command) == then


CHANGES: list[Command] = [ReplaceNote("Tea"), PatchNote(title="Tea"), DeleteNote(), RestoreNote()]


@pytest.mark.parametrize("command", CHANGES, ids=lambda command: type(command).__name__)
def test_a_note_that_never_was_cannot_be_changed(command: Command) -> None:
    """A change of a note that there never was is refused, whatever its condition says."""
    with pytest.raises(NoSuchNote):
        when(None, command, 1, required=True)


@pytest.mark.parametrize("command", CHANGES[:3], ids=lambda command: type(command).__name__)
def test_a_deleted_note_can_only_be_restored(command: Command) -> None:
    """A change of a deleted note is refused before its condition is looked at, and the refusal says when it went."""
    with pytest.raises(NoSuchNote) as refused:
        when(given(CREATED, DELETED), command, 7, required=True)
    assert refused.value.deleted_at == "2026-01-01T00:00:02.000000Z"


@pytest.mark.parametrize("command", CHANGES, ids=lambda command: type(command).__name__)
def test_a_condition_holds_only_at_the_versions_that_it_names(command: Command) -> None:
    """With If-Match a change needs the note to be at one of the versions named; the refusal carries the note."""
    note = given(CREATED, DELETED) if isinstance(command, RestoreNote) else given(CREATED, EDITED)
    assert when(note, command, 5, 2) is not None
    with pytest.raises(ConditionFailed) as refused:
        when(note, command, 1, 3)
    assert refused.value.note == note


@pytest.mark.parametrize("command", CHANGES, ids=lambda command: type(command).__name__)
def test_a_condition_can_be_required(command: Command) -> None:
    """Where If-Match is required, a change without one is refused, one that would change nothing too."""
    with pytest.raises(ConditionMissing):
        when(given(CREATED), command, required=True)


def test_any_version_matches_the_star() -> None:
    """``If-Match: *`` holds for every note that is there."""
    under = Circumstances("bob", NOW, Condition(None), condition_required=True)
    assert decide(DeleteNote(), given(CREATED), under) == NoteDeleted()


def test_the_fold_of_its_events_is_the_note() -> None:
    """Each event raises the version by one and stamps the note; what it does not name stays."""
    note = given(CREATED, NoteEdited(title="Tea"), DELETED, NoteRestored(priority=1))
    assert note == Note(1, "Tea", "two litres", EARLIER, "ada", 1, 4, "2026-01-01T00:00:04.000000Z", 40)
    deleted = given(CREATED, DELETED)
    assert deleted is not None
    assert (deleted.deleted, deleted.deleted_at) == (True, "2026-01-01T00:00:02.000000Z")
    assert (deleted.title, deleted.version, deleted.position) == ("Milk", 2, 20)


IMPOSSIBLE: dict[str, list[Payload]] = {
    "an edit of nothing": [EDITED],
    "a deletion of nothing": [DELETED],
    "a second creation": [CREATED, CREATED],
    "an edit of a deleted note": [CREATED, DELETED, EDITED],
    "a second deletion": [CREATED, DELETED, DELETED],
    "a restore of a note that is there": [CREATED, RESTORED],
    "a creation of a deleted note": [CREATED, DELETED, CREATED],
}


@pytest.mark.parametrize("payloads", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_events_that_cannot_follow_are_told(payloads: list[Payload]) -> None:
    """An event that cannot follow on the state before it is an error with its position, never a guess."""
    with pytest.raises(MalformedEvent) as told:
        given(*payloads)
    assert told.value.position == 10 * len(payloads)


def test_a_version_cannot_be_skipped() -> None:
    """The fold refuses an event whose version is not the next one of its note."""
    with pytest.raises(MalformedEvent):
        evolve(given(CREATED), Event(20, 1, 3, NOW, "ada", EDITED))


def test_what_is_decided_can_always_follow(dice: Any) -> None:
    """Whatever commands come in whatever order, the events that they bring about fold into a note."""
    events: list[Payload] = [CREATED]
    commands: list[Command] = [*CHANGES, PatchNote(priority=1), ReplaceNote("Milk"), PatchNote(created_by="eve")]
    for _ in range(300):
        try:
            payload = when(given(*events), dice.choice(commands))
        except Refused:
            continue
        events += [payload] if payload is not None else []
    note = given(*events)
    assert note is not None
    assert note.version == len(events) > 50
