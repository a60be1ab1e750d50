"""One websocket as a pipe: frames in, frames out, pings, and an end in a time that is known.

The problem: a client that stops reading must cost little and disturb nobody, and asyncio buffers what a socket does not
take. The way taken: the transport's buffer is small, a frame is written only when the buffer has room, and who finds it
full waits for it to drain, at most ``STALL_S`` without any progress; then the connection is cut off.
"""

import asyncio
import socket
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

import structlog
from aiohttp import WSMsgType, web

from service.http.protocol import SERVER_HEADERS
from service.http.sockets import unsent_bytes
from service.live import messages
from service.live.close_codes import BAD_FRAME, INTERNAL_ERROR, TOO_SLOW, CloseCode

PROTOCOL = "notelog.v1"
FRAME_IN_BYTES_MAX = 64 * 1024
# What waits in this process for one socket: this, and one frame more.
WRITE_BUFFER_BYTES_MAX = 16 * 1024
# What waits in the kernel for one socket; left alone it grows to 4 MiB for a reader that hangs.
SEND_BUFFER_BYTES = 128 * 1024
PING_INTERVAL_S = 25
PONG_TIMEOUT_S = 10
# A reader that takes nothing at all for so long is cut off.
STALL_S = 30
STALL_CHECK_S = 1.0
# How long a client has to answer our close frame.
CLOSE_TIMEOUT_S = 2.0

logger = structlog.get_logger(__name__)


class Connection(ABC):
    """One client. Implements ``hub.Socket``; what the frames say is for who extends it."""

    def __init__(self, response: web.WebSocketResponse, request: web.Request) -> None:
        self._response = response
        self._protocol = request.protocol
        self._transport = request.transport
        self._draining: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._ping_at = time.monotonic() + PING_INTERVAL_S
        self._pong_by: float | None = None
        self._unsent_bytes = 0
        self._broken = False
        _bound_buffers(self._transport)

    @abstractmethod
    async def greet(self) -> None:
        """Say what is said first."""

    @abstractmethod
    async def receive(self, text: str) -> None:
        """Answer a frame of the client."""

    async def serve(self) -> None:
        """Greet the client and answer its frames until it goes."""
        try:
            await self.greet()
            while True:
                message = await self._response.receive()
                if message.type is WSMsgType.TEXT:
                    await self.receive(message.data)
                elif message.type is WSMsgType.PING:
                    await self._response.pong(message.data)
                elif message.type is WSMsgType.PONG:
                    self._pong_by = None
                elif message.type is WSMsgType.BINARY:
                    await self.close(BAD_FRAME, "expected JSON in text frames")
                else:
                    return
        except (ConnectionError, RuntimeError):
            # uvloop says RuntimeError where asyncio says ConnectionResetError: the peer is gone.
            if self._transport is not None and not self._transport.is_closing():
                raise

    def write(self, frame: bytes) -> bool:
        if self._protocol.writing_paused or self._response.closed:
            return False
        return self._write_now(self._response.send_frame(frame, WSMsgType.TEXT))

    async def drained(self) -> None:
        if self._broken or self._response.closed:
            raise ConnectionResetError("the connection is closed")
        progress_at, waiting_bytes = time.monotonic(), self._waiting_bytes()
        while self._protocol.writing_paused:
            # An unsolicited pong asks for no answer (RFC 6455 §5.5.3); its send returns when the buffer has drained.
            # A task of its own, shared by all who wait: cancelling it would break the protocol's own waiter.
            if self._draining is None or self._draining.done():
                self._draining = asyncio.create_task(self._response.pong())
                self._draining.add_done_callback(_forget)
            draining = self._draining
            await asyncio.wait({draining}, timeout=STALL_CHECK_S)
            if draining.done():
                draining.result()
            # Drained is progress, whatever another who waited has written since.
            if (now_bytes := self._waiting_bytes()) < waiting_bytes or draining.done():
                progress_at, waiting_bytes = time.monotonic(), now_bytes
            elif time.monotonic() - progress_at > STALL_S:
                self._cut_off(TOO_SLOW, "too slow")
                raise ConnectionResetError("the reader has stopped")

    def fail(self, error: Exception) -> None:
        logger.error("websocket failed", error=repr(error), exc_info=error)
        self._cut_off(INTERNAL_ERROR, "something went wrong inside; come back")

    def check(self, now: float) -> None:
        """Ping when it is time; give up on a client that did not answer the last one."""
        if self._protocol.writing_paused and (self._watching is None or self._watching.done()):
            self._watching = asyncio.create_task(self._watch())
        if self._pong_is_late(now):
            self._abort()
        elif now >= self._ping_at:
            self._ping_at = now + PING_INTERVAL_S
            self._pong_by = now + PONG_TIMEOUT_S
            self._unsent_bytes = self._waiting_bytes()
            if not self._response.closed:
                self._write_now(self._response.ping())

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """Close in order: a close frame, then a moment for the client's own. Who takes no frame is cut off."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._response.close(code=code.code, message=reason.encode())
        except (TimeoutError, ConnectionError, RuntimeError):
            self._abort()

    def end(self, code: CloseCode, reason: str) -> None:
        """Close without waiting for it; a client that does not read could hold us up."""
        if self._protocol.writing_paused:
            self._cut_off(code, reason)
        elif self._ending is None:
            self._ending = asyncio.create_task(self.close(code, reason))

    async def say(self, message: Any) -> None:
        """Write a message, when there is room. Raises ``ConnectionError`` when the client is gone."""
        frame = messages.encode(message)
        while not self.write(frame):
            await self.drained()

    def forget(self) -> None:
        """Wait for nothing any more: the connection is gone."""
        for waiting in (self._draining, self._watching):
            if waiting is not None:
                waiting.cancel()

    async def _watch(self) -> None:
        """See to it that a reader that has stopped is cut off, though nothing more may come for it."""
        with suppress(ConnectionError):
            await self.drained()

    def _pong_is_late(self, now: float) -> bool:
        """Whether the pong is due. Not while the client takes what may lie before the ping, and cannot have seen it."""
        if self._pong_by is None:
            return False
        now_bytes = self._waiting_bytes()
        if now_bytes < self._unsent_bytes or self._protocol.writing_paused:
            self._pong_by = now + PONG_TIMEOUT_S
        self._unsent_bytes = now_bytes
        return now > self._pong_by

    def _write_now(self, sending: Any) -> bool:
        """Run a send up to where it would wait for the buffer to drain: by then it is written."""
        try:
            draining = sending.send(None)
        except StopIteration:
            return True
        except (ConnectionError, RuntimeError):
            # Before the loop that receives has seen it: who would only try again would never let it see it.
            self._broken = True
            return False
        # What a task does that waits for a future; left undone, whoever waits for it next gets a RuntimeError.
        draining._asyncio_future_blocking = False
        draining.add_done_callback(_forget)
        sending.close()
        return True

    def _waiting_bytes(self) -> int:
        return unsent_bytes(self._transport)

    def _cut_off(self, code: CloseCode, reason: str) -> None:
        """Close at once: the close frame is written, and what the socket does not take is thrown away."""
        logger.info("websocket cut off", code=code.code, reason=reason)
        self._write_now(self._response.send_frame(code.code.to_bytes(2, "big") + reason.encode(), WSMsgType.CLOSE))
        self._abort()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def new_response() -> web.WebSocketResponse:
    """A websocket as we speak it: no compression (it costs memory and CPU, and invites attacks), pings our own."""
    response = web.WebSocketResponse(
        protocols=(PROTOCOL,),
        autoping=False,
        compress=False,
        max_msg_size=FRAME_IN_BYTES_MAX + 1,  # aiohttp refuses what is not below
        writer_limit=0,  # so that a send returns when the buffer has drained
        timeout=CLOSE_TIMEOUT_S,
    )
    response.headers.update(SERVER_HEADERS)
    return response


def _forget(draining: "asyncio.Future[None]") -> None:
    """Look at the error that nobody waits for, so that it is not logged: the receiving loop sees it too."""
    if not draining.cancelled():
        draining.exception()


def _bound_buffers(transport: asyncio.Transport | None) -> None:
    if transport is None:
        return
    transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
    if (connected := transport.get_extra_info("socket")) is not None:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
