"""What can go wrong for a user of ``service.client``, as one tree: a class for each kind of problem, and a few more.

ClientError (a NotelogError)
├── Unreachable            no answer: no network, no service, or no time left
├── UnexpectedAnswer       something answered that is no notelog, or one that this client is too old for
├── LogReset               a feed: the log is another one now; forget what came from it and begin again at 0
├── SubscriptionRefused    a feed: there will be no such subscription; ``code`` as on the websocket
├── ConnectionRefused      a feed: the service closed for good; ``code`` of the close frame
└── Problem                the service refused: ``slug``, ``status``, ``title``, ``detail``
    └── one class for each page under /problems/: NotFound for not-found, PreconditionFailed for …

A ``ClientError`` of a change has its ``key``: the same call with ``key=error.key`` goes on where this one gave up, and
records the change once whatever has happened. It matters for ``Unreachable``, ``OutcomeUnknown`` and ``Internal``; any
other Problem says that nothing was recorded.
"""

from typing import Any, ClassVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from events.errors import NotelogError
from events.note import Note
from service.errors import Flaw


class ClientError(NotelogError):
    """The root of the tree. ``key``: the Idempotency-Key of the change that failed, or None."""

    key: str | None = None


class Unreachable(ClientError):
    """No answer came. Whether a change was recorded is not known: call again with ``key``."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"{url} cannot be reached: {why or 'no answer'}")
        self.url, self.why = url, why


class UnexpectedAnswer(ClientError):
    """An answer or a frame is not what notelog sends: is this its URL, and is the client as new as the service?"""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"{url} answered what this client does not understand: {why}")
        self.url = url


class LogReset(ClientError):
    """The position belongs to another log (``epoch``), or lies beyond this one (``beyond_head``): a backup came back.

    Whoever keeps what a feed said must forget it. The feed begins again at 0 when it is iterated again.
    """

    def __init__(self, reason: str, epoch: str, head: int) -> None:
        super().__init__(f"the log is another one now ({reason}): begin again at 0; its epoch is {epoch}")
        self.reason, self.epoch, self.head = reason, epoch, head


class SubscriptionRefused(ClientError):
    """The feed cannot be had so; nothing is gained by asking again unchanged."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"the subscription was refused ({code}): {message}")
        self.code = code


class ConnectionRefused(ClientError):
    """The service closed the websocket and does not want this client back unchanged."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the service closed the connection for good ({code}): {reason}")
        self.code, self.reason = code, reason


class ProblemMembers(Struct, frozen=True):
    """What a client reads of a problem (RFC 9457). Everything may be missing: a proxy writes pages of its own."""

    type: str = ""
    title: str = ""
    detail: str = ""
    errors: list[Flaw] = []
    note: Note | UnsetType = UNSET
    deleted_at: str | None = None


class Problem(ClientError):
    """The service refused. ``retry_after_s``: when to come back, where it said so."""

    slug: ClassVar[str] = ""

    def __init__(self, status: int, members: ProblemMembers, retry_after_s: float | None = None) -> None:
        super().__init__(f"{status} {members.title}: {members.detail}" if members.title else f"{status}")
        self.status, self.title, self.detail = status, members.title, members.detail
        self.retry_after_s = retry_after_s

    def __init_subclass__(cls, slug: str, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.slug = slug
        OF_SLUG[slug] = cls


OF_SLUG: dict[str, type[Problem]] = {}


class NotJson(Problem, slug="not-json"):
    """400: the body is no JSON."""


class BadRequest(Problem, slug="bad-request"):
    """400: the request could not be read as HTTP."""


class Unauthorized(Problem, slug="unauthorized"):
    """401, or a websocket's 4401: a token is needed, or this one is bad or has expired."""


class Forbidden(Problem, slug="forbidden"):
    """403, or a websocket's 4403: the token does not allow this."""


class NotFound(Problem, slug="not-found"):
    """404: no such note (any more), event or path. ``deleted_at``: when there was one, and it was deleted then."""

    def __init__(self, status: int, members: ProblemMembers, retry_after_s: float | None = None) -> None:
        super().__init__(status, members, retry_after_s)
        self.deleted_at = members.deleted_at


class MethodNotAllowed(Problem, slug="method-not-allowed"):
    """405."""


class Timeout(Problem, slug="timeout"):
    """408: the body came too slowly."""


class Conflict(Problem, slug="conflict"):
    """409: other nodes changed the note again and again meanwhile. Read it and try again."""


class PreconditionFailed(Problem, slug="precondition-failed"):
    """412: the note is at another version than ``expected_version``. ``note``: as it is now."""

    def __init__(self, status: int, members: ProblemMembers, retry_after_s: float | None = None) -> None:
        super().__init__(status, members, retry_after_s)
        self.note = None if members.note is UNSET else members.note


class TooLarge(Problem, slug="too-large"):
    """413: the body is over 1 MiB."""


class UnsupportedMediaType(Problem, slug="unsupported-media-type"):
    """415."""


class Invalid(Problem, slug="invalid"):
    """422: something does not fit. ``flaws``: all of it, each with where and what was expected."""

    def __init__(self, status: int, members: ProblemMembers, retry_after_s: float | None = None) -> None:
        super().__init__(status, members, retry_after_s)
        self.flaws = members.errors


class KeyReused(Problem, slug="key-reused"):
    """422: the key was used for another request."""


class UpgradeRequired(Problem, slug="upgrade-required"):
    """426."""


class PreconditionRequired(Problem, slug="precondition-required"):
    """428: this service wants an ``expected_version`` with every change of a note."""


class TooManyRequests(Problem, slug="too-many-requests"):
    """429, still after all tries."""


class HeadersTooLarge(Problem, slug="headers-too-large"):
    """431: the token is too large."""


class Internal(Problem, slug="internal"):
    """500: the service's fault. Whether a change was recorded is not known: call again with ``key``."""


class OutcomeUnknown(Problem, slug="outcome-unknown"):
    """503, still after all tries: whether the change was recorded is not known. Call again with ``key``."""


class Busy(Problem, slug="busy"):
    """503, still after all tries: too much is waiting. Nothing was recorded."""


class LogUnavailable(Problem, slug="log-unavailable"):
    """503, still after all tries: no changes are taken at the moment. Nothing was recorded; reads go on."""


class Behind(Problem, slug="behind"):
    """503, still after all tries: the node does not show yet what this client has seen elsewhere."""


class ProjectionStopped(Problem, slug="projection-stopped"):
    """503, still after all tries: the operator must look at /readyz."""


class KeysUnavailable(Problem, slug="keys-unavailable"):
    """503, still after all tries: no token can be checked at the moment."""


def problem_of(status: int, body: bytes = b"", retry_after: str | None = None) -> Problem:
    """The error for an answer. One that no notelog wrote (a proxy's page) is a ``Problem`` with its status."""
    try:
        members = msgspec.json.decode(body, type=ProblemMembers)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        members = ProblemMembers()
    kind = OF_SLUG.get(members.type.rpartition("/problems/")[2], Problem)
    return kind(status, members, float(retry_after) if retry_after and retry_after.isdigit() else None)


def refusal_of(kind: type[Problem], status: int, detail: str) -> Problem:
    """The error for what a websocket's end or handshake says without a body."""
    return kind(status, ProblemMembers(title=kind.__name__, detail=detail))
