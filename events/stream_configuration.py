"""What a stream must be like to be a log, and what its metadata says of it.

Metadata is where everything stands that is no event, so that positions are the stream's own sequence.
"""

import itertools
import secrets
from typing import Any

import msgspec

from events.copies import Parent
from events.errors import NewerFormat, StreamRefused

FORMAT = 1
# For how long the servers remember ids of messages: more than twice what an append is tried for.
DUPLICATES_WITHIN_S = 60
EPOCH, FORMAT_KEY = "notelog.epoch", "notelog.format"
PARENT_EPOCH, PARENT_POSITION = "notelog.parent_epoch", "notelog.parent_position"
# The epoch of the log whose import into this stream was begun and is not finished.
IMPORTING = "notelog.importing"

REQUIRED: dict[str, Any] = {
    "storage": "file",
    "retention": "limits",
    "discard": "new",
    "max_msgs": -1,
    "max_bytes": -1,
    "max_age": 0,
    "max_msgs_per_subject": -1,
    "max_msg_size": -1,
    "deny_delete": True,
    "deny_purge": True,
}
# What would take messages out of the stream, or put others in.
FORBIDDEN = ("sealed", "allow_rollup_hdrs", "allow_msg_ttl", "mirror", "sources", "subject_transform", "no_ack")


class Identity(msgspec.Struct, frozen=True):
    """Which log a stream is: its epoch, whose import it is, and whether that import is still under way."""

    epoch: str
    parent: Parent | None = None
    importing: str | None = None


def configuration(name: str, replicas: int, **metadata: str) -> dict[str, Any]:
    """The stream's configuration: nothing ever leaves it, and nothing but events of notes is in it."""
    return {
        "name": name,
        "description": "The log of notelog: every message is an event",
        "subjects": [f"{name}.*"],
        "num_replicas": replicas,
        "metadata": {EPOCH: secrets.token_hex(16), FORMAT_KEY: str(FORMAT)} | metadata,
        "max_consumers": -1,
        "duplicate_window": DUPLICATES_WITHIN_S * 10**9,
        "allow_atomic": True,
        **REQUIRED,
    }


def identify(config: dict[str, Any], name: str, replicas: int | None) -> Identity:
    """See that a stream is fit for a log, and which one it is. Raises ``StreamRefused``, ``NewerFormat``."""
    metadata = config.get("metadata") or {}
    epoch, format_ = metadata.get(EPOCH, ""), metadata.get(FORMAT_KEY, "")
    if not epoch or not format_.isdigit():
        raise StreamRefused(name, "metadata", f"{EPOCH} and {FORMAT_KEY}", metadata)
    if int(format_) > FORMAT:
        raise NewerFormat(f"the stream {name}", int(format_), FORMAT)
    wanted = {**REQUIRED, "subjects": [f"{name}.*"]}
    if replicas is not None:
        wanted["num_replicas"] = replicas
    for key, value in itertools.chain(wanted.items(), ((key, None) for key in FORBIDDEN)):
        if (config.get(key) or None) != (value or None):
            raise StreamRefused(name, key, value, config.get(key))
    parent_epoch, parent_position = metadata.get(PARENT_EPOCH), metadata.get(PARENT_POSITION)
    parent = Parent(parent_epoch, int(parent_position)) if parent_epoch and parent_position else None
    return Identity(epoch, parent, metadata.get(IMPORTING) or None)
