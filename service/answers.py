"""The shapes of answers that are put together from stored JSON and so have no other type: for the description."""

from msgspec import UNSET, Struct, UnsetType

from events.note import Note


class NoteList(Struct, frozen=True):
    """A page of notes. ``next``: path and query of the next page; null: this was the last. ``count``: if asked for."""

    notes: list[Note]
    next: str | None
    count: int | UnsetType = UNSET


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
