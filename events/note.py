"""What a note is: its events, its state, and how the one follows from the other. Pure.

``evolve`` says what an event means; the state of a note is the fold of ``evolve`` over its events.
"""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict, replace

from events.errors import MalformedEvent

TITLE_CHARACTERS_MAX = 200
DESCRIPTION_CHARACTERS_MAX = 65_536
CREATED_BY_CHARACTERS_MAX = 200
PRIORITY_MIN, PRIORITY_MAX = -(2**31), 2**31 - 1
# An integer that SQLite can hold; note ids and positions are never larger.
INTEGER_MAX = 2**63 - 1

# U+0000 is refused everywhere: C programs that read the log or the tables would stop at it.
Title = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=TITLE_CHARACTERS_MAX,
        pattern=r"^[^\x00]*[^\s\x00][^\x00]*$",
        description="1 to 200 characters, not only white space, no U+0000",
    ),
]
Description = Annotated[
    str,
    Meta(max_length=DESCRIPTION_CHARACTERS_MAX, pattern=r"^[^\x00]*$", description="up to 65,536 characters"),
]
CreatedBy = Annotated[
    str, Meta(max_length=CREATED_BY_CHARACTERS_MAX, pattern=r"^[^\x00]*$", description="up to 200 characters")
]
Priority = Annotated[int, Meta(ge=PRIORITY_MIN, le=PRIORITY_MAX, description="32-bit signed")]

# RFC 3339 UTC; checked where it comes in.
Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class Note(Struct, frozen=True, gc=False):
    """A note as it is after its event at ``position``. A deleted one has ``deleted_at``, and is kept to be restored."""

    id: int
    title: str
    description: str
    created_at: Timestamp
    created_by: str
    priority: int
    version: int
    updated_at: Timestamp
    position: int
    deleted_at: Timestamp | UnsetType = UNSET

    @property
    def deleted(self) -> bool:
        """Whether the note's last event is its deletion."""
        return self.deleted_at is not UNSET


CONTENT = ("title", "description", "created_at", "created_by", "priority")
"""The fields that clients write."""


class NoteCreated(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A note came to be, with all its fields."""

    title: str
    description: str
    created_at: Timestamp
    created_by: str
    priority: int


class Changes(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The new values of the fields that changed; the others are unset."""

    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    created_at: Timestamp | UnsetType = UNSET
    created_by: str | UnsetType = UNSET
    priority: int | UnsetType = UNSET


class NoteEdited(Changes, frozen=True, gc=False, forbid_unknown_fields=True):
    """Fields of the note changed: those that are here."""


class NoteDeleted(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The note was deleted. Its fields are kept for a restore."""


class NoteRestored(Changes, frozen=True, gc=False, forbid_unknown_fields=True):
    """A deleted note came back, as it was but for the fields that are here."""


Payload = NoteCreated | NoteEdited | NoteDeleted | NoteRestored


class Event(Struct, frozen=True, gc=False):
    """What a record says of a note, in today's shapes. ``at``: RFC 3339 UTC, six digits."""

    position: int
    note_id: int
    version: int
    at: str
    actor: str
    payload: Payload


def evolve(note: Note | None, event: Event) -> Note:
    """The note after the event. Raises ``MalformedEvent`` when the event cannot follow on that state."""
    payload = event.payload
    if isinstance(payload, NoteCreated):
        _require(note is None, event, "the note is there already")
        return Note(
            event.note_id,
            payload.title,
            payload.description,
            payload.created_at,
            payload.created_by,
            payload.priority,
            event.version,
            event.at,
            event.position,
        )
    if note is None:
        raise MalformedEvent(event.position, type(payload).__name__, "there is no such note")
    _require(event.version == note.version + 1, event, f"expected version {note.version + 1}, got {event.version}")
    stamp = {"version": event.version, "updated_at": event.at, "position": event.position}
    if isinstance(payload, NoteDeleted):
        _require(not note.deleted, event, "the note is deleted already")
        return replace(note, deleted_at=event.at, **stamp)
    _require(note.deleted == isinstance(payload, NoteRestored), event, "it does not fit whether the note is deleted")
    return replace(note, deleted_at=UNSET, **changed_fields(payload), **stamp)


def changed_fields(changes: Changes) -> dict[str, object]:
    """The fields that are set, by name."""
    return {name: value for name, value in asdict(changes).items() if value is not UNSET}


def _require(holds: bool, event: Event, why: str) -> None:
    if not holds:
        raise MalformedEvent(event.position, type(event.payload).__name__, why)
