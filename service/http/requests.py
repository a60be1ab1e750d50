"""What a request says beside its path: body, key, condition, position, ids. Each is read here, and checked."""

import asyncio
import re
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from multidict import MultiMapping

from events.note import INTEGER_MAX
from events.record import command_hash, request_hash
from service.errors import Flaw, Invalid, NoSuchNote, UnsupportedMediaType
from service.notes.bodies import fit
from service.notes.command_loop import Intent
from service.notes.commands import Condition

T = TypeVar("T", bound=msgspec.Struct)

BODY_BYTES_MAX = 1024 * 1024
# A body of 1 MiB on a slow line takes a few seconds; longer than this it only holds a connection.
BODY_TIMEOUT_S = 10.0
KEY_CHARACTERS_MAX = 255
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"

REQUEST_ID = web.RequestKey("request_id", str)
"""The request's name in logs and in its event."""
SUBJECT = web.RequestKey("subject", str)
"""Who asks, where a token says it."""

_encode = msgspec.json.Encoder().encode
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_ENTITY_TAG = re.compile(r'[\s,]*(?:(W/)?"([\x21\x23-\x7e\x80-\xff]*)"|(\*))\s*(?:,[\s,]*|$)')
_VERSION = re.compile(r"[1-9][0-9]{0,18}")
_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_NO_WEIGHT = re.compile(r"q=0(?:\.0{0,3})?")
_INTEGER = re.compile(r"-?[0-9]+")
_DIGITS = re.compile(r"[0-9]{1,19}")


def accepts(request: web.Request, media_type: str) -> bool:
    """Whether Accept names the media type and does not refuse it (RFC 9110 §12.5.1)."""
    for part in ",".join(request.headers.getall("Accept", [])).lower().split(","):
        named, *parameters = (piece.strip() for piece in part.split(";"))
        if named == media_type:
            return not any(_NO_WEIGHT.fullmatch(parameter) for parameter in parameters)
    return False


async def read_body(request: web.Request) -> bytes:
    """The whole body. Raises 413 when it is too large or says that it will be, 408 when it takes too long."""
    if request.content.is_eof():
        return await request.read()
    if (size_bytes := request.content_length) is not None and size_bytes > BODY_BYTES_MAX:
        raise web.HTTPRequestEntityTooLarge(BODY_BYTES_MAX, size_bytes)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


def require_media_type(request: web.Request, *taken: str) -> None:
    """Raises ``UnsupportedMediaType`` when the body is said to be something else. No Content-Type means JSON."""
    if (given := request.headers.get("Content-Type")) and request.content_type not in taken:
        raise UnsupportedMediaType(f"Content-Type {_shown(given)}", " or ".join(taken))
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise UnsupportedMediaType(f"Content-Encoding {_shown(encoding)}", "a body without Content-Encoding")


def _shown(header: str) -> str:
    """A header as an answer can show it: bytes that are no UTF-8 stand in it as surrogates."""
    return header[:100].encode(errors="backslashreplace").decode()


def subject(request: web.Request) -> str:
    """Who asks: the subject of the token, or ``anonymous``."""
    who: str = request.get(SUBJECT, "anonymous")
    return who


def intent(request: web.Request, body: bytes) -> Intent:
    """Who asks for what, under which key and condition. Raises ``Invalid`` for a key that is no key."""
    actor = subject(request)
    headers = request.headers
    if_match = ", ".join(headers.getall("If-Match")) if "If-Match" in headers else ""
    key = _key(headers)
    return Intent(
        actor,
        command_hash(actor, key) if key is not None else None,
        request_hash(request.method, request.rel_url.raw_path, if_match, body) if key is not None else None,
        meta(request),
        condition(if_match) if "If-Match" in headers else None,
    )


def _key(headers: MultiMapping[str]) -> str | None:
    if "Idempotency-Key" not in headers:
        return None
    keys = headers.getall("Idempotency-Key")
    if len(keys) > 1 or len(keys[0]) > KEY_CHARACTERS_MAX or not _VISIBLE.fullmatch(keys[0]):
        raise Invalid([Flaw("Idempotency-Key", f"expected 1 to {KEY_CHARACTERS_MAX} visible ASCII characters, once")])
    return str(keys[0])


def condition(if_match: str) -> Condition:
    """What If-Match says (RFC 9110 §13.1.1). Weak tags and what is no tag match nothing, so the change is refused."""
    if if_match.strip() == "*":
        return Condition(None)
    tags = (tag for weak, tag, _ in _entity_tags(if_match) if tag and not weak)
    return Condition(frozenset(int(tag) for tag in tags if _VERSION.fullmatch(tag)))


def matches(request: web.Request, tag: str) -> bool:
    """Whether If-None-Match names the entity tag, compared weakly (RFC 9110 §13.1.2)."""
    if "If-None-Match" not in request.headers:
        return False
    if_none_match = ", ".join(request.headers.getall("If-None-Match"))
    wanted = tag.removeprefix("W/").strip('"')
    return any(star or given == wanted for _, given, star in _entity_tags(if_none_match))


def _entity_tags(text: str) -> list[tuple[str | None, ...]]:
    """The tags of a list, each as (weak, tag, star); none at all when something in it is no tag."""
    tags, place = [], 0
    while place < len(text):
        if (found := _ENTITY_TAG.match(text, place)) is None:
            return []
        tags.append(found.groups())
        place = found.end()
    return tags


class RequestMeta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of a request beside its event: its id, and where it stands in a distributed trace."""

    request_id: str | None = None
    traceparent: str | None = None


def meta(request: web.Request) -> str:
    """The ``meta`` of the request's event, as JSON. A traceparent that is none (W3C Trace Context §3.2) is left out."""
    trace = request.headers.get("traceparent")
    if trace is not None and not _TRACE_PARENT.fullmatch(trace):
        trace = None
    return _encode(RequestMeta(request[REQUEST_ID], trace)).decode()


def note_id(request: web.Request) -> int:
    """The id in the path. Raises ``NoSuchNote`` for one that no note can have."""
    number = path_number(request)
    if number == 0:
        raise NoSuchNote(None)
    return number


def path_number(request: web.Request) -> int:
    """The id in the path, 0 for one that no note can have."""
    text = request.match_info["id"]
    number = int(text) if _DIGITS.fullmatch(text) else 0
    return number if number <= INTEGER_MAX else 0


def min_position(request: web.Request) -> int:
    """The position that a read must show, from Notelog-Min-Position; 0 without one."""
    text = request.headers.get("Notelog-Min-Position")
    if text is None:
        return 0
    if not _DIGITS.fullmatch(text) or int(text) > INTEGER_MAX:
        raise Invalid([Flaw("Notelog-Min-Position", f"expected a position, got {text[:40]!r}")])
    return int(text)


def query(request: web.Request, type_: type[T]) -> T:
    """The query parameters as a ``type_``. Raises ``Invalid`` with every one that is unknown, bad or there twice."""
    given = request.query
    fields: dict[str, Any] = dict(given)
    if len(given) > len(fields):
        twice = sorted({name for name in given if len(given.getall(name)) > 1})
        raise Invalid([Flaw(f"?{name}", "is there more than once") for name in twice])
    fitted = fit(fields, type_, strict=False, prefix="?")
    if flaws := [flaw for name, text in fields.items() if (flaw := _lax(name, text, getattr(fitted, name)))]:
        raise Invalid(flaws)
    return fitted


def _lax(name: str, text: str, value: object) -> Flaw | None:
    """What msgspec lets pass and the description does not: "null" for what can be left out, 1 for true, 1e0 for 1."""
    if value is None:
        return Flaw(f"?{name}", f"expected a value, got {text!r}")
    if isinstance(value, bool) and text not in ("true", "false"):
        return Flaw(f"?{name}", f"expected true or false, got {text!r}")
    if isinstance(value, int) and not isinstance(value, bool) and not _INTEGER.fullmatch(text):
        return Flaw(f"?{name}", f"expected an integer, got {text!r}")
    return None


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For routes that take no query parameters."""


def require_no_query(request: web.Request) -> None:
    """Raises ``Invalid`` when there are query parameters where none are taken."""
    if request.query_string:
        query(request, NoQuery)
