"""What a client sees of each error: one table from error to problem (RFC 9457), and the pages that explain them.

Nothing of the inside leaks: a problem's detail is written here or by the error for the client's eyes.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from events.errors import CommandReused, LogBusy, LogUnavailable, MalformedEvent, NewerEvent, OutcomeUnknown
from events.note import Note
from projections.projection import ProjectionStopped
from service.errors import (
    ConditionFailed,
    ConditionMissing,
    Flaw,
    Forbidden,
    ForeignOrigin,
    Invalid,
    KeysUnavailable,
    LineFull,
    LostRaces,
    NoSuchEvent,
    NoSuchNote,
    NoSuchVersion,
    NotJson,
    Refused,
    TooFarBehind,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
)

MEDIA_TYPE = "application/problem+json"
# When to come back: longer than a group commit, a reopened file or a projection's pause usually take.
RETRY_AFTER_S = 1


class Problem(Struct, frozen=True):
    """A kind of problem: its page is ``/problems/{slug}``."""

    slug: str
    status: int
    title: str
    explanation: str


class ProblemBody(Struct, frozen=True):
    """What went wrong (RFC 9457). ``type``: the page that explains it. ``errors``: all that does not fit (422).

    ``note``: the note as it is now (412). ``deleted_at``: there was such a note, and it was deleted then (404).
    """

    type: str
    title: str
    status: int
    detail: str
    errors: list[Flaw] | UnsetType = UNSET
    note: Note | UnsetType = UNSET
    deleted_at: str | UnsetType = UNSET


def _problem(slug: str, status: int, title: str, explanation: str) -> Problem:
    return Problem(slug, status, title, explanation)


NOT_JSON = _problem("not-json", 400, "The body is not JSON", "Send a JSON object in UTF-8.")
BAD_REQUEST = _problem(
    "bad-request", 400, "The request is not HTTP", "The request could not be read as HTTP. Send it with an HTTP client."
)
UNAUTHORIZED = _problem(
    "unauthorized", 401, "A token is needed", "Send a valid, unexpired token as Authorization: Bearer."
)
FORBIDDEN = _problem(
    "forbidden",
    403,
    "Not allowed",
    "The token lacks the scope that this needs: ask for one that has it. Or the browser's origin is not allowed: the "
    "operator can name it in NOTELOG_ALLOWED_ORIGINS.",
)
NOT_FOUND = _problem(
    "not-found",
    404,
    "There is nothing here",
    "No such note (any more), version, event or path. Where `deleted_at` is said, POST to /notes/{id}/restore brings "
    "it back.",
)
METHOD_NOT_ALLOWED = _problem(
    "method-not-allowed", 405, "The method is not allowed here", "Use one of those that the header Allow names."
)
TIMEOUT = _problem(
    "timeout",
    408,
    "The body came too slowly",
    "The whole body must arrive within ten seconds. Nothing was appended: send it again.",
)
CONFLICT = _problem(
    "conflict",
    409,
    "The change lost too many races",
    "Other nodes changed the note again and again meanwhile. Nothing was appended: read the note and try again.",
)
PRECONDITION_FAILED = _problem(
    "precondition-failed",
    412,
    "The note has changed",
    "If-Match names another version than the note has now. `note` is the note as it is: merge, and send its ETag.",
)
TOO_LARGE = _problem("too-large", 413, "The body is too large", "A body may have up to 1 MiB. Send less.")
UNSUPPORTED_MEDIA_TYPE = _problem(
    "unsupported-media-type",
    415,
    "The Content-Type is not taken here",
    "Send application/json; a patch may also be application/merge-patch+json.",
)
INVALID = _problem(
    "invalid",
    422,
    "The request does not fit",
    "`errors` has everything that is wrong: mend what it names, where it names it.",
)
KEY_REUSED = _problem(
    "key-reused",
    422,
    "The Idempotency-Key was used for another request",
    "A key belongs to one request: same method, path, If-Match and body. Take a new key for a new request.",
)
UPGRADE_REQUIRED = _problem("upgrade-required", 426, "This is a websocket", "Connect with a websocket client.")
PRECONDITION_REQUIRED = _problem(
    "precondition-required",
    428,
    "If-Match is required",
    "This service changes a note only when If-Match names the version that was read: send the note's ETag.",
)
TOO_MANY_REQUESTS = _problem("too-many-requests", 429, "Too many requests", "Come back after Retry-After seconds.")
HEADERS_TOO_LARGE = _problem(
    "headers-too-large",
    431,
    "The headers are too large",
    "A header may have up to 8 KiB. Send shorter ones: often it is cookies of other services on the same host.",
)
INTERNAL = _problem(
    "internal",
    500,
    "Something went wrong inside",
    "It is our fault and was logged. Retry with the same Idempotency-Key.",
)
OUTCOME_UNKNOWN = _problem(
    "outcome-unknown",
    503,
    "It is not known whether the change was recorded",
    "The storage failed or time ran out while committing. Send the same request with the same Idempotency-Key again: "
    "it is recorded once, whatever happened.",
)
BUSY = _problem("busy", 503, "Too much is waiting", "Nothing was appended. Come back after Retry-After seconds.")
READ_ONLY = _problem(
    "log-unavailable",
    503,
    "No changes are taken at the moment",
    "The log cannot be written (a full disk, or a fault that is being mended). Nothing was appended; reads go on. Come "
    "back after Retry-After seconds; /readyz tells the operator why.",
)
BEHIND = _problem(
    "behind", 503, "This node is behind", "It does not show the position asked for yet. Come back after Retry-After."
)
STOPPED = _problem(
    "projection-stopped",
    503,
    "What would be shown is not kept up to date",
    "The notes, their past or the ledger stand still. The operator must look at /readyz, which says which, and why.",
)
KEYS_UNAVAILABLE = _problem(
    "keys-unavailable",
    503,
    "No token can be checked at the moment",
    "The identity provider's keys could not be fetched yet. Nothing was appended. Come back after Retry-After seconds.",
)

PROBLEMS = {value.slug: value for value in list(globals().values()) if isinstance(value, Problem)}


def _flaws(error: Exception) -> dict[str, Any]:
    assert isinstance(error, Invalid)
    return {"errors": error.flaws}


def _current_note(error: Exception) -> dict[str, Any]:
    assert isinstance(error, ConditionFailed)
    return {"note": error.note}


def _deleted_at(error: Exception) -> dict[str, Any]:
    assert isinstance(error, NoSuchNote)
    return {"deleted_at": error.deleted_at} if error.deleted_at else {}


def _nothing(error: Exception) -> dict[str, Any]:
    return {}


# Error → its problem, what the problem carries beside the usual members, and whether the error's own words are shown.
OF_ERROR: dict[type[Exception], tuple[Problem, Callable[[Exception], dict[str, Any]], bool]] = {
    NotJson: (NOT_JSON, _nothing, True),
    Invalid: (INVALID, _flaws, True),
    UnsupportedMediaType: (UNSUPPORTED_MEDIA_TYPE, _nothing, True),
    NoSuchNote: (NOT_FOUND, _deleted_at, True),
    NoSuchVersion: (NOT_FOUND, _nothing, True),
    NoSuchEvent: (NOT_FOUND, _nothing, True),
    ConditionFailed: (PRECONDITION_FAILED, _current_note, True),
    ConditionMissing: (PRECONDITION_REQUIRED, _nothing, True),
    LostRaces: (CONFLICT, _nothing, True),
    LineFull: (BUSY, _nothing, True),
    TooFarBehind: (BEHIND, _nothing, True),
    Unauthorized: (UNAUTHORIZED, _nothing, True),
    KeysUnavailable: (KEYS_UNAVAILABLE, _nothing, False),
    Forbidden: (FORBIDDEN, _nothing, True),
    ForeignOrigin: (FORBIDDEN, _nothing, True),
    TooManyRequests: (TOO_MANY_REQUESTS, _nothing, True),
    CommandReused: (KEY_REUSED, _nothing, False),
    LogBusy: (BUSY, _nothing, False),
    LogUnavailable: (READ_ONLY, _nothing, False),
    OutcomeUnknown: (OUTCOME_UNKNOWN, _nothing, False),
    ProjectionStopped: (STOPPED, _nothing, False),
    NewerEvent: (STOPPED, _nothing, False),
    MalformedEvent: (STOPPED, _nothing, False),
}

OF_STATUS = {
    400: BAD_REQUEST,
    403: FORBIDDEN,
    404: NOT_FOUND,
    405: METHOD_NOT_ALLOWED,
    408: TIMEOUT,
    413: TOO_LARGE,
    426: UPGRADE_REQUIRED,
}


def answer(problem: Problem, detail: str | None = None, **members: Any) -> web.Response:
    """A problem as a response. 503 and 429 say when to come back."""
    explained = detail or problem.explanation
    body = ProblemBody(f"/problems/{problem.slug}", problem.title, problem.status, explained, **members)
    headers = {"Content-Type": MEDIA_TYPE}
    if problem.status in (429, 503):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return web.Response(status=problem.status, body=msgspec.json.encode(body), headers=headers)


def of_error(error: Exception) -> web.Response | None:
    """The answer to an error of ours, or None when it is none of ours."""
    entry = OF_ERROR.get(type(error))
    if entry is None:
        return None
    problem, members, own_words = entry
    response = answer(problem, str(error) if own_words else None, **members(error))
    if isinstance(error, Refused):
        response.headers.update(error.headers)
    return response


def of_http_error(error: web.HTTPException) -> web.Response:
    """The answer to an error that aiohttp raised."""
    response = answer(OF_STATUS.get(error.status, INTERNAL if error.status >= 500 else BAD_REQUEST))
    if isinstance(error, web.HTTPMethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.allowed_methods | {"OPTIONS"}))
    return response


def internal() -> web.Response:
    """The answer to an error that nobody foresaw: it says nothing of the inside."""
    return answer(INTERNAL)


def page(slug: str) -> str | None:
    """The explanation of a kind of problem, as text."""
    problem = PROBLEMS.get(slug)
    if problem is None:
        return None
    return f"{problem.status} {problem.title}\n\n{problem.explanation}\n"
