"""What a record from elsewhere must be for this program to serve it: as the service itself would have written it."""

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict

from events.batch import SALT_BYTES
from events.note import CreatedBy, Description, Payload, Priority, Title
from events.record import NewEvent, RecordedEvent, leaf
from events.timestamps import normalised, rfc3339

# What stands for a command, and for what was asked under it.
COMMAND_BYTES = 16
# Two bytes in the leaf.
PART_MAX = 0xFFFF


class _Fields(Struct, frozen=True):
    """The fields of a note that an event can have, each with its rule."""

    title: Title | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    created_by: CreatedBy | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET


def require_admissible(record: RecordedEvent, payload: Payload) -> None:
    """Raises ``ValueError``, or one of msgspec's, with what is wrong."""
    _require_numbers(record)
    _require_bytes(record)
    _require_texts(record)
    _require_fields({name: value for name, value in asdict(payload).items() if value is not UNSET})
    leaf(record)


def _require_numbers(record: RecordedEvent) -> None:
    if not 0 <= record.part <= PART_MAX:
        raise ValueError(f"expected a part from 0 to {PART_MAX}, got {record.part}")
    try:
        rfc3339(record.at)
    except OverflowError:
        raise ValueError(f"expected at in a year from 1 to 9999, got {record.at}") from None


def _require_bytes(record: RecordedEvent) -> None:
    if len(record.salt) != SALT_BYTES:
        raise ValueError(f"expected a salt of {SALT_BYTES} bytes, got {len(record.salt)}")
    for name, value in (("command", record.command), ("request", record.request)):
        if value is not None and len(value) != COMMAND_BYTES:
            raise ValueError(f"expected a {name} of {COMMAND_BYTES} bytes, got {len(value)}")
    if (record.command is None) != (record.request is None):
        raise ValueError("expected command and request together, or neither")


def _require_texts(record: RecordedEvent) -> None:
    NewEvent(record.note_id, record.type, record.schema, record.actor, record.data, meta=record.meta)
    if "\0" in record.actor:
        raise ValueError("expected an actor without U+0000")
    msgspec.json.decode(record.meta, type=dict[str, Any])
    if "\n" in record.data or "\r" in record.data:
        raise ValueError("expected data without line breaks between its fields: an event is a line of NDJSON")


def _require_fields(fields: dict[str, Any]) -> None:
    msgspec.convert(fields, _Fields)
    if "created_at" in fields and normalised(fields["created_at"]) != fields["created_at"]:
        raise ValueError(f"expected created_at in UTC, {normalised(fields['created_at'])}, got {fields['created_at']}")
