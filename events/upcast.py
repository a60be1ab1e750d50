"""Old shapes of events, brought to today's when they are read. What is stored never changes.

Each step takes a payload from one schema to the next; an event goes up as many steps as it needs. To change a shape:
raise its number in ``codec.SCHEMAS``, add the step here, and keep a stored example of the old one in the tests.
"""

from collections.abc import Callable
from typing import Any

from events.timestamps import normalised

Fields = dict[str, Any]


def note_created_0(fields: Fields) -> Fields:
    """Schema 0, from before the first release: times in the client's own words, and what it left out was left out."""
    return {
        "title": fields["title"],
        "description": fields.get("description") or "",
        "created_at": normalised(fields["created_at"]),
        "created_by": fields.get("created_by") or "anonymous",
        "priority": fields.get("priority") or 0,
    }


STEPS: dict[tuple[str, int], Callable[[Fields], Fields]] = {
    ("NoteCreated", 0): note_created_0,
}


def upcast(type_: str, schema: int, current: int, fields: Fields) -> Fields:
    """The fields in the shape ``current``. Raises ``KeyError`` when a step is missing or a field is."""
    for step in range(schema, current):
        fields = STEPS[type_, step](fields)
    return fields
