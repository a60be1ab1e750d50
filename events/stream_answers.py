"""What the servers answer, as far as it matters here: JSON of the JetStream API, and what can go wrong with asking."""

from typing import Any

import msgspec

# A leader hears of the others every second; they choose another after 4 s at the earliest (nats-server's raft.go).
HEARD_WITHIN_S = 3.0


class Conflict(Exception):
    """The guard refused a publish: the subject's, or the stream's, last message is another one."""


class Duplicate(Conflict):
    """The server has refused a publish because it knows the id of the message."""


class NotStored(Exception):
    """A publish has certainly not been stored; it may be tried again."""


class NoAnswer(Exception):
    """Nobody knows whether what was asked was done."""


class NoResponders(NoAnswer):
    """No server knew anybody who takes the message."""


class State(msgspec.Struct, frozen=True):
    """The numbers of a stream."""

    messages: int
    first_seq: int
    last_seq: int


class Peer(msgspec.Struct, frozen=True):
    """Another server of the stream. ``active``: nanoseconds since the leader has heard of it."""

    active: int = 0
    offline: bool = False


class Group(msgspec.Struct, frozen=True):
    """The servers of the stream, as the one that answered sees them."""

    leader: str = ""
    replicas: list[Peer] = []


class Error(msgspec.Struct, frozen=True):
    """Why the servers refused."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class Answer(msgspec.Struct, frozen=True):
    """Any answer of the API, as far as it matters here."""

    error: Error | None = None
    seq: int = 0
    duplicate: bool = False
    config: dict[str, Any] = {}
    state: State | None = None
    cluster: Group | None = None


class Stored(msgspec.Struct, frozen=True):
    """A message in the stream."""

    data: bytes = b""


class Got(msgspec.Struct, frozen=True):
    """The answer to who asked for a message."""

    message: Stored | None = None


_decoder = msgspec.json.Decoder(Answer)


def decode_answer(answer: bytes) -> Answer:
    """The answer; an empty one says that all is well."""
    return _decoder.decode(answer) if answer else Answer()


def require_majority(group: Group | None) -> None:
    """Believe a leader that has just heard of enough others: no other leader can have been chosen meanwhile.

    Raises ``NoAnswer``.
    """
    if group is None:
        return  # a single server
    if not group.leader:
        raise NoAnswer("the stream has no leader")
    heard = 1 + sum(peer.active < HEARD_WITHIN_S * 1e9 and not peer.offline for peer in group.replicas)
    if 2 * heard <= 1 + len(group.replicas):
        raise NoAnswer(f"the leader hears of {heard} of {1 + len(group.replicas)} servers")
