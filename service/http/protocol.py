"""HTTP as aiohttp's server reads it, where a client breaks it: an answer that is a problem, and no log for each.

The problem: whatever can reach the port can send bytes that are no request, a request that never ends, or can stop
reading its answer. The way taken: such a client is told in the same words as everybody else where it can be told, it is
cut off in a time that is known, and thousands of them make one line of log.
"""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

import structlog
from aiohttp import StreamReader, hdrs, web
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError, LineTooLong
from aiohttp.web_protocol import PayloadAccessError, RequestPayloadError

from service import problems
from service.http.sockets import reset, unsent_bytes

# A header's line, and the headers of a request. Also what a proxy in front should allow.
HEADER_BYTES_MAX = 8190
HEADERS_MAX = 128
# How long a connection may be idle, and how long a request's headers may take. aiohttp's own default is an hour.
KEEP_ALIVE_S = 15.0
# How long the rest of a body is still taken when its request was answered before its end: a client that sends all of
# it before it looks for an answer then sees the answer. Together with the body's own time it stays under 20 s.
LINGER_S = 3.0
# A reader of an answer that takes nothing for so long is cut off. (Websockets have a time of their own.)
STALL_S = 30.0
# Broken requests are counted, and said in one line in this time.
SAY_EVERY_S = 10.0

# The client broke its request, or went away.
OF_CLIENT = (HttpProcessingError, RequestPayloadError, PayloadAccessError, ConnectionError)

# On every answer: who answers, without a version, and that a browser must not guess at types.
SERVER_HEADERS = {hdrs.SERVER: "notelog", "X-Content-Type-Options": "nosniff"}

logger = structlog.get_logger(__name__)


class BrokenRequests:
    """Counts what could not be read as a request, and says so now and then."""

    def __init__(self) -> None:
        self._count = 0
        self._said_at = float("-inf")

    def add(self, remote: str | None, why: str) -> None:
        """One more. ``why`` is a name of an error, never what the client sent: that may be a token."""
        self._count += 1
        if time.monotonic() - self._said_at >= SAY_EVERY_S:
            logger.info("broken requests", count=self._count, last_from=remote, last=why)
            self._count, self._said_at = 0, time.monotonic()


class Protocol(web.RequestHandler):
    """One connection."""

    __slots__ = ("_broken", "_stall", "_unsent_bytes")

    def __init__(self, manager: web.Server, broken: BrokenRequests, **options: Any) -> None:
        super().__init__(manager, **options)
        self._broken = broken
        self._stall: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what is no request (400, 431), or to an error that no handler has caught (500)."""
        if isinstance(exc, HttpProcessingError):
            self._broken.add(request.remote, type(exc).__name__)
        elif not _is_of_client(exc):
            logger.error("request failed", status=status, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionResetError("part of an answer was sent already")
        response = problems.answer(_problem(exc))
        response.headers.update(SERVER_HEADERS)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Also the errors that aiohttp answers before any middleware (an Expect that is not known) are problems."""
        if isinstance(resp, web.HTTPException):
            resp = problems.of_http_error(resp)
            resp.force_close()
        if not resp.prepared:
            resp.headers.update(SERVER_HEADERS)
        return await super().finish_response(request, resp, start_time)

    def log_exception(self, *args: Any, **options: Any) -> None:
        """What aiohttp would log with a traceback. A broken body that is met after its answer is the client's."""
        error = options.get("exc_info")
        if isinstance(error, BaseException) and _is_of_client(error):
            self._broken.add(None, type(error).__name__)
        else:
            super().log_exception(*args, **options)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._payload_parser is None:  # of websockets, ``Connection.drained`` takes care
            self._unsent_bytes = unsent_bytes(self.transport)
            self._stall = self._loop.call_later(STALL_S, self._look_at_reader)

    def resume_writing(self) -> None:
        self._forget_stall()
        super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._forget_stall()
        super().connection_lost(exc)

    def close(self) -> None:
        """Take no further request. A body that is still arriving is waited for by ``shutdown``, which follows."""
        if (body := self._body_under_way()) is None:
            super().close()
        else:
            body.on_eof(super().close)

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """End the connection after its request. aiohttp takes no bytes once it ends: so the body comes first."""
        if timeout is not None and (body := self._body_under_way()) is not None:
            ends_at = self._loop.time() + timeout
            with suppress(OSError, *OF_CLIENT):  # it takes too long, or the client is gone
                async with asyncio.timeout_at(ends_at):
                    await body.wait_eof()
            # What is left, but never so little that an answer to a body that has just come is cut off.
            timeout = max(ends_at - self._loop.time(), timeout / 2)
        await super().shutdown(timeout)

    def _body_under_way(self) -> StreamReader | None:
        request = self._current_request
        return None if request is None or request.content.is_eof() else request.content

    def _look_at_reader(self) -> None:
        """Cut off a reader that has taken nothing since the last look; a slow one is waited for."""
        if self.transport is None:
            return
        now_bytes = unsent_bytes(self.transport)
        if now_bytes >= self._unsent_bytes:
            self._broken.add(None, "StalledReader")
            reset(self.transport)
            return
        self._unsent_bytes = now_bytes
        self._stall = self._loop.call_later(STALL_S, self._look_at_reader)

    def _forget_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None


class Server(web.Server):
    """Makes a ``Protocol`` for each connection."""

    def __init__(self, made: web.Server, options: dict[str, Any]) -> None:
        super().__init__(made.request_handler, request_factory=made.request_factory)
        self._options = options
        self._broken = BrokenRequests()

    def __call__(self) -> Protocol:
        return Protocol(self, self._broken, loop=asyncio.get_running_loop(), **self._options)


class Runner(web.AppRunner):
    """Runs an application behind a ``Server``."""

    def __init__(self, app: web.Application, *, shutdown_timeout_s: float) -> None:
        super().__init__(app, handle_signals=False, access_log=None, shutdown_timeout=shutdown_timeout_s)

    async def _make_server(self) -> Server:
        options = {
            "access_log": None,
            "logger": logging.getLogger("aiohttp.server"),
            "keepalive_timeout": KEEP_ALIVE_S,
            "lingering_time": LINGER_S,
            "max_line_size": HEADER_BYTES_MAX,
            "max_field_size": HEADER_BYTES_MAX,
            "max_headers": HEADERS_MAX,
            "auto_decompress": False,
        }
        return Server(await super()._make_server(), options)


def _problem(error: BaseException | None) -> problems.Problem:
    if isinstance(error, LineTooLong) or (isinstance(error, BadHttpMessage) and "Too many headers" in error.message):
        return problems.HEADERS_TOO_LARGE
    return problems.BAD_REQUEST if _is_of_client(error) else problems.INTERNAL


def _is_of_client(error: BaseException | None) -> bool:
    """Whether the client broke its request, or went away."""
    return isinstance(error, OF_CLIENT)
