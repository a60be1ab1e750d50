"""Where the two halves meet: records on one side, events of a note on the other."""

import msgspec
from msgspec import Raw, Struct

from events.errors import MalformedEvent, NewerEvent
from events.note import Event, NoteCreated, NoteDeleted, NoteEdited, NoteRestored, Payload
from events.record import RecordedEvent
from events.timestamps import rfc3339
from events.upcast import upcast

# The current schema of each event type, that is, the number of its payload's shape.
SCHEMAS: dict[str, int] = {"NoteCreated": 1, "NoteEdited": 1, "NoteDeleted": 1, "NoteRestored": 1}
PAYLOADS: dict[str, type[Payload]] = {
    "NoteCreated": NoteCreated,
    "NoteEdited": NoteEdited,
    "NoteDeleted": NoteDeleted,
    "NoteRestored": NoteRestored,
}
_DECODERS = {name: msgspec.json.Decoder(payload) for name, payload in PAYLOADS.items()}
_encoder = msgspec.json.Encoder()


def encode(payload: Payload) -> tuple[str, int, str]:
    """The type, schema and data of a new event."""
    name = type(payload).__name__
    return name, SCHEMAS[name], _encoder.encode(payload).decode()


def decode(record: RecordedEvent) -> Event:
    """The event of a record, in today's shape. Raises ``NewerEvent`` or ``MalformedEvent``."""
    payload = decode_payload(record)
    return Event(record.position, record.note_id, record.version, rfc3339(record.at), record.actor, payload)


def require_known(record: RecordedEvent) -> None:
    """Raises ``NewerEvent`` or ``MalformedEvent`` when the record cannot be shown. Costs nothing in today's shapes."""
    if record.schema != SCHEMAS.get(record.type):
        decode_payload(record)


def decode_payload(record: RecordedEvent) -> Payload:
    """What happened, in today's shape."""
    current = SCHEMAS.get(record.type, -1)
    if record.schema > current:
        raise NewerEvent(record.position, record.type, record.schema)
    try:
        if record.schema == current:
            return _DECODERS[record.type].decode(record.data)
        fields = upcast(record.type, record.schema, current, msgspec.json.decode(record.data))
        return msgspec.convert(fields, PAYLOADS[record.type])
    except (msgspec.DecodeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise MalformedEvent(record.position, record.type, str(error)) from error


class EventView(Struct, frozen=True, gc=False):
    """An event as people and programs see it. ``at``: RFC 3339 UTC, six digits."""

    position: int
    note_id: int
    version: int
    type: str
    at: str
    actor: str
    data: Raw


def view(record: RecordedEvent) -> bytes:
    """The event as JSON, with its payload in today's shape. Raises like ``decode``."""
    if record.schema == SCHEMAS.get(record.type):
        data = record.data.encode()  # as it was stored: not decoded, not encoded again
    else:
        data = _encoder.encode(decode_payload(record))
    return _encoder.encode(
        EventView(
            record.position,
            record.note_id,
            record.version,
            record.type,
            rfc3339(record.at),
            record.actor,
            Raw(data),
        )
    )
