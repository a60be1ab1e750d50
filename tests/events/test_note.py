"""What a note is: given a state, when an event comes, then this is the state after it."""

import pytest

from events.errors import MalformedEvent
from events.note import Event, Note, NoteCreated, NoteDeleted, NoteEdited, NoteRestored, Payload, evolve

CREATED = NoteCreated("Milk", "two litres", "2017-08-23T00:00:00Z", "ada", 3)


def event(version: int, payload: Payload) -> Event:
    """The event of that version of note 5; its position is ten times that."""
    return Event(version * 10, 5, version, f"2020-01-01T00:00:0{version}.000000Z", "bob", payload)


def given(*payloads: Payload) -> Note | None:
    """The note after these payloads."""
    note = None
    for version, payload in enumerate(payloads, 1):
        note = evolve(note, event(version, payload))
    return note


def then(note: Note | None) -> tuple[str, str, str, str, int, int, str, int, bool]:
    """The whole state, in one line."""
    assert note is not None
    assert note.id == 5
    return (
        *(note.title, note.description, note.created_at, note.created_by, note.priority),
        *(note.version, note.updated_at[17:19], note.position, note.deleted),
    )


def test_created() -> None:
    """A new note has the event's fields, version 1, and says when and where it was recorded."""
    assert then(given(CREATED)) == ("Milk", "two litres", "2017-08-23T00:00:00Z", "ada", 3, 1, "01", 10, False)


def test_edited() -> None:
    """An edit replaces the fields that it names and leaves the others."""
    note = given(CREATED, NoteEdited(title="Bread", priority=0), NoteEdited(description=""))
    assert then(note) == ("Bread", "", "2017-08-23T00:00:00Z", "ada", 0, 3, "03", 30, False)


def test_deleted() -> None:
    """A deleted note keeps its fields and knows when it was deleted."""
    note = given(CREATED, NoteDeleted())
    assert then(note) == ("Milk", "two litres", "2017-08-23T00:00:00Z", "ada", 3, 2, "02", 20, True)
    assert note is not None
    assert note.deleted_at == note.updated_at


def test_restored() -> None:
    """A restored note is as it was, but for the fields that the event names."""
    note = given(CREATED, NoteDeleted(), NoteRestored(created_by="eve"))
    assert then(note) == ("Milk", "two litres", "2017-08-23T00:00:00Z", "eve", 3, 3, "03", 30, False)


@pytest.mark.parametrize(
    ("before", "next_"),
    [
        ([], event(1, NoteEdited(title="x"))),
        ([], event(1, NoteDeleted())),
        ([], event(1, NoteRestored())),
        ([CREATED], event(2, CREATED)),
        ([CREATED], event(2, NoteRestored())),
        ([CREATED], event(3, NoteEdited(title="x"))),
        ([CREATED], event(1, NoteEdited(title="x"))),
        ([CREATED, NoteDeleted()], event(3, NoteEdited(title="x"))),
        ([CREATED, NoteDeleted()], event(3, NoteDeleted())),
    ],
)
def test_what_cannot_follow_is_refused(before: list[Payload], next_: Event) -> None:
    """An event that cannot come after the state before it says at which position."""
    with pytest.raises(MalformedEvent) as refused:
        evolve(given(*before), next_)
    assert refused.value.position == next_.position
