"""The commands, and ``decide``: which event a command brings about in a state of the note. Pure."""

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from events.note import (
    CONTENT,
    Note,
    NoteCreated,
    NoteDeleted,
    NoteEdited,
    NoteRestored,
    Payload,
)
from service.errors import ConditionFailed, ConditionMissing, Flaw, Invalid, NoSuchNote
from service.notes.bodies import NoteBody, NotePatch, RevertBody, decode_body

DEFAULTS = {"description": "", "priority": 0}


class CreateNote(Struct, frozen=True):
    """Make a note. ``created_at`` and ``created_by`` None: now, and the actor."""

    title: str
    description: str = ""
    created_at: str | None = None
    created_by: str | None = None
    priority: int = 0


class ReplaceNote(Struct, frozen=True):
    """Give every field its value; ``created_at`` and ``created_by`` None stay as they are."""

    title: str
    description: str = ""
    created_at: str | None = None
    created_by: str | None = None
    priority: int = 0


class PatchNote(Struct, frozen=True):
    """Give the fields that are set their values."""

    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    created_at: str | UnsetType = UNSET
    created_by: str | UnsetType = UNSET
    priority: int | UnsetType = UNSET


class DeleteNote(Struct, frozen=True):
    """Delete the note; it can be restored."""


class RestoreNote(Struct, frozen=True):
    """Bring a deleted note back as it was."""


class RevertNote(Struct, frozen=True):
    """Make the note what it was at a version. ``target``: that, None before it was looked up, or if there is none."""

    version: int
    target: Note | None = None


Change = ReplaceNote | PatchNote | DeleteNote | RestoreNote | RevertNote
Command = CreateNote | Change


class Condition(Struct, frozen=True):
    """What If-Match says. ``versions`` None: any version (``*``)."""

    versions: frozenset[int] | None

    def holds(self, note: Note) -> bool:
        """Whether the note is at a version that the condition names."""
        return self.versions is None or note.version in self.versions


class Circumstances(Struct, frozen=True):
    """What a command is judged under. ``now``: RFC 3339 UTC. ``condition`` None: no If-Match was sent."""

    actor: str
    now: str
    condition: Condition | None = None
    condition_required: bool = False


def create_note(body: bytes) -> CreateNote:
    """The command of a POST body. Raises ``NotJson`` or ``Invalid``."""
    note, created_at = decode_body(body, NoteBody)
    return CreateNote(note.title, note.description, created_at, _given(note.created_by), note.priority)


def replace_note(body: bytes) -> ReplaceNote:
    """The command of a PUT body. Raises ``NotJson`` or ``Invalid``."""
    note, created_at = decode_body(body, NoteBody)
    return ReplaceNote(note.title, note.description, created_at, _given(note.created_by), note.priority)


def patch_note(body: bytes) -> PatchNote:
    """The command of a merge patch. Raises ``NotJson`` or ``Invalid``."""
    patch, created_at = decode_body(body, NotePatch)
    return PatchNote(
        patch.title,
        DEFAULTS["description"] if patch.description is None else patch.description,  # type: ignore[arg-type]
        UNSET if created_at is None else created_at,
        patch.created_by,
        DEFAULTS["priority"] if patch.priority is None else patch.priority,  # type: ignore[arg-type]
    )


def revert_note(body: bytes) -> RevertNote:
    """The command of a revert. Raises ``NotJson`` or ``Invalid``."""
    revert, _ = decode_body(body, RevertBody)
    return RevertNote(revert.version)


def decide(command: Command, note: Note | None, under: Circumstances) -> Payload | None:
    """What happens when the command meets the note; None when nothing changes.

    Existence is judged first, then the condition. Raises ``NoSuchNote``, ``ConditionFailed``, ``ConditionMissing``,
    and ``Invalid`` for a version that cannot be reverted to.
    """
    if isinstance(command, CreateNote):
        return NoteCreated(
            command.title,
            command.description,
            command.created_at or under.now,
            under.actor if command.created_by is None else command.created_by,
            command.priority,
        )
    if note is None or (note.deleted and not isinstance(command, RestoreNote | RevertNote)):
        raise _no_such(note)
    if isinstance(command, RevertNote):
        _require_target(command)
    _require_condition(note, under)
    if isinstance(command, DeleteNote):
        return NoteDeleted()
    if isinstance(command, RestoreNote):
        return NoteRestored() if note.deleted else None
    changes = _changes(note, _wanted(command))
    if note.deleted:
        return NoteRestored(**changes)
    return NoteEdited(**changes) if changes else None


def _wanted(command: ReplaceNote | PatchNote | RevertNote) -> dict[str, Any]:
    """The values that the command wants, by field."""
    if isinstance(command, RevertNote):
        return {name: getattr(command.target, name) for name in CONTENT}
    values = msgspec.structs.asdict(command)
    return {name: value for name, value in values.items() if value is not UNSET and value is not None}


def _changes(note: Note, wanted: dict[str, Any]) -> dict[str, Any]:
    """Those wanted values that are not there already."""
    return {name: wanted[name] for name in CONTENT if name in wanted and wanted[name] != getattr(note, name)}


def _require_condition(note: Note, under: Circumstances) -> None:
    if under.condition is None:
        if under.condition_required:
            raise ConditionMissing
    elif not under.condition.holds(note):
        raise ConditionFailed(note)


def _require_target(command: RevertNote) -> None:
    if command.target is None:
        raise Invalid([Flaw("#/version", f"the note has no version {command.version}")])
    if command.target.deleted:
        raise Invalid([Flaw("#/version", f"the note was deleted at version {command.version}: send DELETE instead")])


def _no_such(note: Note | None) -> NoSuchNote:
    if note is None:
        return NoSuchNote(None)
    return NoSuchNote(note.id, note.deleted_at or None)


def _given(value: str | UnsetType) -> str | None:
    return None if value is UNSET else value
