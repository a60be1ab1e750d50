"""What comes from a feed: the frames as the client reads them, and the items in them."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from events.codec import PAYLOADS
from events.note import Note, Payload
from service.live import messages


class Event(Struct, frozen=True):
    """An event. ``at``: RFC 3339 in UTC, when it was recorded. ``data``: what was recorded, by field."""

    position: int
    note_id: int
    version: int
    type: str
    at: str
    actor: str
    data: dict[str, Any]

    @property
    def payload(self) -> Payload:
        """The data as its type: ``NoteCreated``, … Raises ``KeyError`` or ``ValidationError`` for a newer one."""
        return msgspec.convert(self.data, PAYLOADS[self.type])


class Removed(Struct, frozen=True):
    """A note was deleted, or does not match the filter (any more). Ignore ids that you do not have."""

    id: int


class EventsFrame(Struct, frozen=True, tag="events"):
    """A frame of the feed ``events``."""

    id: str
    events: list[Event]
    position: int


Frame = (
    messages.Hello
    | messages.Subscribed
    | messages.CaughtUp
    | messages.Reset
    | messages.Unsubscribed
    | messages.Error
    | EventsFrame
    | messages.Notes
)
decoder: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)


def items_of(frame: EventsFrame | messages.Notes, before: int) -> Iterator[tuple[Event | Note | Removed, int]]:
    """Those that are gone first: where a frame is left in the middle, they come again, and are not missed."""
    if isinstance(frame, EventsFrame):
        yield from ((event, event.position) for event in frame.events)
        return
    yield from ((Removed(id_), before) for id_ in frame.removed)
    yield from ((note, note.position) for note in frame.notes)
