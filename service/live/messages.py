"""The frames of the websocket that are not deliveries, as types: what clients send, and what is answered."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from events.note import INTEGER_MAX, Note
from service.pages.answers import Event

ErrorCode = Literal[
    "bad_request",
    "id_in_use",
    "too_many_subscriptions",
    "unknown_subscription",
    "forbidden",
    "rate_limited",
    "not_yet",
]
ResetReason = Literal["epoch", "beyond_head"]
SubscriptionId = Annotated[str, Meta(min_length=1, max_length=64)]


class Subscribe(Struct, frozen=True, forbid_unknown_fields=True):
    """Follow a feed. ``after`` left out: only what is new; 0: from the beginning."""

    type: Literal["subscribe"]
    id: SubscriptionId
    feed: Literal["events", "notes"]
    after: Annotated[int, Meta(ge=0, le=INTEGER_MAX)] | None = None
    epoch: str | None = None
    where: dict[str, Any] | None = None


class Unsubscribe(Struct, frozen=True, forbid_unknown_fields=True):
    """End a subscription."""

    type: Literal["unsubscribe"]
    id: SubscriptionId


class Auth(Struct, frozen=True, forbid_unknown_fields=True):
    """Show a token, first or anew."""

    type: Literal["auth"]
    token: str


class Hello(Struct, frozen=True, tag="hello"):
    """The first frame of the server."""

    epoch: str
    head: int
    heartbeat_s: int


class Subscribed(Struct, frozen=True, tag="subscribed"):
    """From here on nothing after ``after`` is missed."""

    id: str
    epoch: str
    after: int
    head: int


class Events(Struct, frozen=True, tag="events"):
    """What passes the filter, in order. Made by ``feeds``; this is its shape."""

    id: str
    events: list[Event]
    position: int


class Notes(Struct, frozen=True, tag="notes"):
    """Notes as they are now, and the ids of those that are gone. Made by ``feeds``; this is its shape."""

    id: str
    notes: list[Note]
    removed: list[int]
    position: int


class CaughtUp(Struct, frozen=True, tag="caught_up"):
    """Everything up to the head of now was sent."""

    id: str
    position: int


class Reset(Struct, frozen=True, tag="reset"):
    """``after`` means nothing in this log: start again from 0. The subscription is over."""

    id: str
    reason: ResetReason
    epoch: str
    head: int


class Unsubscribed(Struct, frozen=True, tag="unsubscribed"):
    """The subscription has ended."""

    id: str


class Error(Struct, frozen=True, tag="error"):
    """A frame of the client was refused; what stood before still stands."""

    id: str | None
    code: ErrorCode
    message: str


encode = msgspec.json.Encoder().encode
