"""Cursors: where a list goes on. They belong to one epoch and one query, and mean nothing to a client."""

import base64
import binascii
import hashlib
from typing import Annotated, Any

import msgspec

from events.note import INTEGER_MAX
from projections.lists import Key
from service.errors import Flaw, Invalid


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    belongs_to: str
    key: list[str | Annotated[int, msgspec.Meta(ge=-INTEGER_MAX, le=INTEGER_MAX)]]


_decoder = msgspec.json.Decoder(_Cursor)


def encode(epoch: str, query: dict[str, Any], key: Key) -> str:
    """A cursor that goes on after ``key`` in this query."""
    cursor = msgspec.json.encode(_Cursor(_owner(epoch, query), key))
    return base64.urlsafe_b64encode(cursor).decode().rstrip("=")


def decode(text: str, epoch: str, query: dict[str, Any], kinds: list[type]) -> Key:
    """The key in a cursor, whose parts are of these kinds.

    Raises ``Invalid`` when it is none of ours (nothing hinders a client from making one up), or belongs to another
    log or query.
    """
    try:
        cursor = _decoder.decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, ValueError, RecursionError):
        raise Invalid([Flaw("?cursor", "expected a cursor from an earlier page's `next`")]) from None
    if cursor.belongs_to != _owner(epoch, query) or [type(part) for part in cursor.key] != kinds:
        raise Invalid([Flaw("?cursor", "belongs to another query or another log; begin without a cursor")])
    return cursor.key


def _owner(epoch: str, query: dict[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode([epoch, sorted(query.items())])).hexdigest()[:16]
