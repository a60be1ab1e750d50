"""Lists as a plain model: what a list must answer, said in ten lines of Python over the notes of now."""

from datetime import datetime
from typing import Any

from projections.words import words

Note = dict[str, Any]


def value(note: Note, sort: str) -> Any:
    """What the note is sorted by."""
    field = sort.removeprefix("-")
    if field == "created_at":
        return datetime.fromisoformat(note["created_at"])
    return note["position"] if field == "updated_at" else note[field]


def passes(note: Note, parameters: dict[str, Any]) -> bool:
    """Whether the filters let the note through."""
    return (
        parameters.get("created_by") in (None, note["created_by"])
        and parameters.get("priority") in (None, note["priority"])
        and parameters.get("priority_min", note["priority"]) <= note["priority"]
        and parameters.get("priority_max", note["priority"]) >= note["priority"]
        and found(note, parameters.get("q", ""))
    )


def found(note: Note, q: str) -> bool:
    """Whether the note has all words of the query, the last one as a prefix."""
    wanted = words(q)
    have = words(note["title"]) + words(note["description"])
    return not wanted or (set(wanted[:-1]) <= set(have) and any(word.startswith(wanted[-1]) for word in have))


def listed(notes: list[Note], parameters: dict[str, Any]) -> list[int]:
    """The ids of a list, in its order."""
    sort = parameters.get("sort", "id")
    chosen = [note for note in notes if passes(note, parameters)]
    chosen.sort(key=lambda note: (value(note, sort), note["id"]), reverse=sort.startswith("-"))
    return [note["id"] for note in chosen]
