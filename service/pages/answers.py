"""The shapes of answers that are put together from stored JSON and so have no other type: for the description."""

from msgspec import UNSET, Struct, UnsetType

from events.note import Note, NoteCreated, NoteDeleted, NoteEdited, NoteRestored, Timestamp
from projections.past import HistoryEntry


class NoteList(Struct, frozen=True):
    """A page of notes. ``next``: path and query of the next page; null: this was the last. ``count``: if asked for.

    ``as_of``: the position at which the list was so, if the past was asked for.
    """

    notes: list[Note]
    next: str | None
    count: int | UnsetType = UNSET
    as_of: int | UnsetType = UNSET


class HistoryList(Struct, frozen=True):
    """A page of a note's history, oldest first. ``next``: path and query of the next page; null: this was the last."""

    history: list[HistoryEntry]
    next: str | None


class Alive(Struct, frozen=True):
    """The process lives."""

    status: str


class LogState(Struct, frozen=True):
    """Whether the log takes writes, and if not, why."""

    state: str
    error: str | None


class ProjectionState(Struct, frozen=True):
    """How far a projection is. ``lag``: the events of the log that it does not show yet."""

    checkpoint: int
    lag: int
    state: str
    error: str | None


class Readiness(Struct, frozen=True):
    """Whether the service can be relied on, and if not, which part fails it."""

    status: str
    epoch: str
    head: int
    log: LogState
    projections: dict[str, ProjectionState]


class EventFields(Struct, frozen=True, tag_field="type"):
    """What every event has. ``at``: when it was recorded, six digits. ``actor``: who asked for it."""

    position: int
    note_id: int
    version: int
    at: Timestamp
    actor: str


class NoteCreatedEvent(EventFields, frozen=True, tag="NoteCreated"):
    """A note came to be."""

    data: NoteCreated


class NoteEditedEvent(EventFields, frozen=True, tag="NoteEdited"):
    """Some fields of a note changed: those in ``data``."""

    data: NoteEdited


class NoteDeletedEvent(EventFields, frozen=True, tag="NoteDeleted"):
    """A note was deleted."""

    data: NoteDeleted


class NoteRestoredEvent(EventFields, frozen=True, tag="NoteRestored"):
    """A deleted note came back, with the fields in ``data`` changed."""

    data: NoteRestored


Event = NoteCreatedEvent | NoteEditedEvent | NoteDeletedEvent | NoteRestoredEvent


class EventList(Struct, frozen=True):
    """A page of events. ``next``: path and query of the next page; null: this was the last. ``head``: last position.

    A page may be shorter than asked for, or empty: only ``next`` tells the end.
    """

    events: list[Event]
    next: str | None
    head: int
