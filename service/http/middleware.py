"""The one middleware: every request has an id, every error becomes a problem, every answer says which log it is of."""

import itertools
import re
import secrets
import time
from collections.abc import Iterator

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web_protocol import RequestPayloadError

from events.log import EventLog
from service import problems
from service.errors import ConditionFailed
from service.http import requests
from service.http.freshness import Freshness
from service.metrics import Metrics

REQUEST_ID = "X-Request-Id"
_GOOD_ID = re.compile(r"[\x21-\x7e]{1,128}")

logger = structlog.get_logger(__name__)


def outermost(log: EventLog, freshness: Freshness, metrics: Metrics, access_log: bool) -> Middleware:
    """The middleware around every handler."""
    new_id = _request_ids()

    def problem(request: web.Request, error: Exception, head: int) -> web.Response:
        if isinstance(error, web.HTTPException):
            response = _options(error) if request.method == "OPTIONS" else problems.of_http_error(error)
        elif _is_of_client(request, error):
            return _broken()
        else:
            response = problems.of_error(error) or problems.internal()
            if response.status >= 500:
                _log_failure(request, response.status, error)
        if response.status not in (401, 403):
            response.headers.setdefault("Notelog-Epoch", log.epoch)
            # What is refused was judged by all that was known when it came, unless the tables could not show it.
            position = _judged_at(error, head) if response.status < 500 else freshness.checkpoint
            response.headers.setdefault("Notelog-Position", str(position))
        return response

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started, head = time.perf_counter(), log.head
        request[requests.REQUEST_ID] = request_id = _given_id(request) or next(new_id)
        response: web.StreamResponse
        try:
            response = await handler(request)
        except Exception as error:
            response = problem(request, error, head)
        if not response.prepared:
            response.headers[REQUEST_ID] = request_id
        seconds = time.perf_counter() - started
        metrics.requested(request, response.status, seconds)
        if access_log:
            _log_access(request, response, seconds)
        return response

    return middleware


def _judged_at(error: Exception, head: int) -> int:
    """A note that is shown may have changed since the request came."""
    return max(head, error.note.position) if isinstance(error, ConditionFailed) else head


def _request_ids() -> Iterator[str]:
    """Ids for requests that bring none: unique among processes by their beginning, within one by counting."""
    start = secrets.token_hex(8)
    return (f"{start}-{number:x}" for number in itertools.count(1))


def _given_id(request: web.Request) -> str | None:
    given = request.headers.get(REQUEST_ID)
    return given if given is not None and _GOOD_ID.fullmatch(given) else None


def _options(error: web.HTTPException) -> web.Response:
    """OPTIONS is no method of any handler, so the router refuses it, and its refusal says what is allowed."""
    response = problems.of_http_error(error)
    if "Allow" not in response.headers:
        return response
    return web.Response(status=204, headers={"Allow": response.headers["Allow"]})


def _is_of_client(request: web.Request, error: Exception) -> bool:
    """Whether the client sent a body that cannot be read, or went away before its answer was whole."""
    if isinstance(error, RequestPayloadError):
        return True
    gone = request.transport is None or request.transport.is_closing()
    return gone and isinstance(error, ConnectionError)


def _broken() -> web.Response:
    response = problems.answer(problems.BAD_REQUEST)
    response.force_close()
    return response


def _log_access(request: web.Request, response: web.StreamResponse, seconds: float) -> None:
    resource = request.match_info.route.resource
    logger.info(
        "request",
        request_id=request[requests.REQUEST_ID],
        method=request.method,
        route=resource.canonical if resource else None,
        status=response.status,
        ms=round(seconds * 1000, 3),
        position=response.headers.get("Notelog-Position"),
    )


def _log_failure(request: web.Request, status: int, error: Exception) -> None:
    logger.error(
        "request failed",
        request_id=request[requests.REQUEST_ID],
        method=request.method,
        path=request.path,
        status=status,
        error=str(error),
        exc_info=error if status == 500 else None,
    )
