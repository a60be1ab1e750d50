"""``GET /ws``: one connection, up to 16 subscriptions. Reads the client's frames; the hub writes the feeds.

The problem: a client that stops reading must cost little and disturb nobody, and asyncio buffers what a socket does not
take. The way taken: the transport's buffer is small, a frame is written only when the buffer has room, and who finds it
full waits for it to drain, at most ``STALL_S`` without any progress; then the connection is cut off.
"""

import asyncio
import socket
import time
from collections import Counter
from contextlib import suppress
from typing import Any, ClassVar, NamedTuple

import msgspec
import structlog
from aiohttp import WSMsgType, web

from events.log import EventLog
from service import problems
from service.errors import Invalid
from service.http.gate import Gate
from service.http.protocol import SERVER_HEADERS
from service.http.sockets import unsent_bytes
from service.live import messages
from service.live.close_codes import (
    BAD_FRAME,
    BAD_TOKEN,
    GOING_AWAY,
    INTERNAL_ERROR,
    TOO_MANY,
    TOO_SLOW,
    CloseCode,
    counted_as,
)
from service.live.hub import Hub, Subscription
from service.live.messages import (
    Auth,
    Error,
    Hello,
    Reset,
    ResetReason,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from service.live.places import Places
from service.live.socket_auth import FEED_SCOPE, SocketAuth
from service.metrics import Metrics
from service.notes.bodies import fit

PROTOCOL = "notelog.v1"
SUBSCRIPTIONS_MAX = 16
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
# Over how long a stop spreads its goodbyes, and how far apart at most: a stop must end within ten seconds.
CLOSE_SPREAD_S = 2.0
CLOSE_PAUSE_S = 0.005
# Inbound frames: so many at once, then so many a second.
FRAMES_BURST = 100
FRAMES_PER_S = 50

logger = structlog.get_logger(__name__)


class WebSocketApi:
    """The handler of ``/ws``, and all open connections."""

    def __init__(self, log: EventLog, hub: Hub, metrics: Metrics, gate: Gate, places: Places) -> None:
        self._log = log
        self._hub = hub
        self._metrics = metrics
        self._gate = gate
        self._places = places
        self.connections: set[Connection] = set()
        self._closing = False

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """``GET /ws``: 101, or 426 without an upgrade."""
        identity = await self._gate.admit_socket(request)
        response = new_response()
        if not response.can_prepare(request):
            return upgrade_required()
        await response.prepare(request)
        authenticator = self._gate.authenticator
        auth = SocketAuth(authenticator, identity) if authenticator is not None else None
        connection = Connection(response, request, self._log, self._hub, auth)
        if self._closing:
            await connection.close(GOING_AWAY)
        elif not self._places.take(request.remote):
            await connection.close(TOO_MANY, "too many connections; come back")
        else:
            await self._serve(connection, request.remote)
        self._metrics.closes.labels(counted_as(response.close_code)).inc()
        return response

    async def _serve(self, connection: "Connection", remote: str | None) -> None:
        self.connections.add(connection)
        try:
            await connection.serve()
        finally:
            self.connections.discard(connection)
            self._places.leave(remote)
            connection.leave_all()

    async def keep_alive(self) -> None:
        """Ping those who are due and drop those who are gone, until cancelled."""
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            for connection in list(self.connections):
                connection.check(now)

    async def close(self) -> None:
        """Tell everybody that we go away, and take no more connections.

        Many are told one after the other, so that they do not all come back to another node in the same moment.
        """
        self._closing = True
        connections = list(self.connections)
        pause_s = min(CLOSE_SPREAD_S / max(1, len(connections)), CLOSE_PAUSE_S)
        closing = []
        for connection in connections:
            closing.append(asyncio.create_task(connection.close(GOING_AWAY)))
            await asyncio.sleep(pause_s)
        await asyncio.gather(*closing)


class Beginning(NamedTuple):
    """A subscription that waits for this node to be where the client is."""

    feed: str
    task: asyncio.Task[None]


class Connection:
    """One client. Implements ``hub.Socket``. ``auth`` None: nobody is asked for a token."""

    def __init__(
        self, response: web.WebSocketResponse, request: web.Request, log: EventLog, hub: Hub, auth: SocketAuth | None
    ) -> None:
        self._auth = auth
        self._response = response
        self._protocol = request.protocol
        self._transport = request.transport
        self._log = log
        self._hub = hub
        self._subscriptions: dict[str, Subscription] = {}
        self._beginning: dict[str, Beginning] = {}
        self._refused: Counter[str] = Counter()
        self._draining: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._ping_at = time.monotonic() + PING_INTERVAL_S
        self._pong_by: float | None = None
        self._unsent_bytes = 0
        self._broken = False
        self._frames_left = float(FRAMES_BURST)
        self._frames_counted_at = time.monotonic()
        _bound_buffers(self._transport)

    async def serve(self) -> None:
        """Greet the client and answer its frames until it goes."""
        try:
            if self._auth is None or not self._auth.missing:
                await self._greet()
            while True:
                message = await self._response.receive()
                if message.type is WSMsgType.TEXT:
                    await self._receive(message.data)
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
        """Ping when it is time; give up on a client that did not answer the last one, or whose token has ended."""
        if self._protocol.writing_paused and (self._watching is None or self._watching.done()):
            self._watching = asyncio.create_task(self._watch())
        if self._auth is not None and (ending := self._auth.ending()) is not None:
            self._end(*ending)
        elif self._pong_is_late(now):
            self._abort()
        elif now >= self._ping_at:
            self._ping_at = now + PING_INTERVAL_S
            self._pong_by = now + PONG_TIMEOUT_S
            self._unsent_bytes = self._waiting_bytes()
            if not self._response.closed:
                self._write_now(self._response.ping())

    def _pong_is_late(self, now: float) -> bool:
        """Whether the pong is due. Not while the client takes what may lie before the ping, and cannot have seen it."""
        if self._pong_by is None:
            return False
        now_bytes = self._waiting_bytes()
        if now_bytes < self._unsent_bytes or self._protocol.writing_paused:
            self._pong_by = now + PONG_TIMEOUT_S
        self._unsent_bytes = now_bytes
        return now > self._pong_by

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """Close in order: a close frame, then a moment for the client's own. Who takes no frame is cut off."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._response.close(code=code.code, message=reason.encode())
        except (TimeoutError, ConnectionError, RuntimeError):
            self._abort()

    def _end(self, code: CloseCode, reason: str) -> None:
        """Close without waiting for it; a client that does not read could hold us up."""
        if self._protocol.writing_paused:
            self._cut_off(code, reason)
        elif self._ending is None:
            self._ending = asyncio.create_task(self.close(code, reason))

    async def _watch(self) -> None:
        """See to it that a reader that has stopped is cut off, though nothing more may come for it."""
        with suppress(ConnectionError):
            await self.drained()

    def leave_all(self) -> None:
        """End all subscriptions: the connection is gone."""
        for beginning in self._beginning.values():
            beginning.task.cancel()
        for subscription in self._subscriptions.values():
            self._hub.leave(subscription)
        self._subscriptions.clear()
        for waiting in (self._draining, self._watching):
            if waiting is not None:
                waiting.cancel()

    async def _receive(self, text: str) -> None:
        fields = _fields(text)
        if fields is None:
            await self.close(BAD_FRAME, "expected a JSON object with a known type")
            return
        id_ = fields.get("id")
        given_id = id_ if isinstance(id_, str) else None
        if self._auth is not None and self._auth.missing and fields["type"] != "auth":
            await self.close(BAD_TOKEN, "expected a frame auth first")
            return
        if not self._admit():
            await self._say(Error(given_id, "rate_limited", f"more than {FRAMES_PER_S} frames a second"))
            return
        try:
            await self._HANDLERS[fields["type"]](self, fields)
        except Invalid as invalid:
            await self._say(Error(given_id, "bad_request", str(invalid)))

    async def _greet(self) -> None:
        await self._say(Hello(self._log.epoch, self._log.head, PING_INTERVAL_S))

    async def _authenticate(self, fields: dict[str, Any]) -> None:
        """The first token is answered with the greeting, a renewal with nothing; where none is asked for, neither."""
        shown = fit(fields, Auth, strict=True, prefix="#/")
        if self._auth is None:
            return
        first = self._auth.missing
        if (ending := await self._auth.show(shown.token, self._followed())) is not None:
            await self.close(*ending)
        elif first:
            await self._greet()

    def _followed(self) -> set[str]:
        """The feeds of the subscriptions, those that are beginning too."""
        followed = {subscription.feed.name for subscription in self._subscriptions.values()}
        return followed | {beginning.feed for beginning in self._beginning.values()}

    async def _subscribe(self, fields: dict[str, Any]) -> None:
        wanted = fit(fields, Subscribe, strict=True, prefix="#/")
        feed = self._hub.feeds[wanted.feed]
        where = feed.where(wanted.where) if wanted.where else feed.everything
        if self._auth is not None and not self._auth.allows(wanted.feed):
            await self._say(Error(wanted.id, "forbidden", f"the token needs the scope {FEED_SCOPE[wanted.feed]}"))
        elif wanted.id in self._beginning:
            self._refused[wanted.id] += 1
        elif wanted.id in self._subscriptions:
            await self._refuse(wanted.id)
        elif len(self._subscriptions) + len(self._beginning) >= SUBSCRIPTIONS_MAX:
            await self._say(Error(wanted.id, "too_many_subscriptions", f"at most {SUBSCRIPTIONS_MAX} a connection"))
        elif reason := self._not_of_this_log(wanted):
            await self._say(Reset(wanted.id, reason, self._log.epoch, self._log.head))
        elif feed.head.value >= self._begins_at(wanted):
            await self._start(wanted, feed, where)
        else:
            self._beginning[wanted.id] = Beginning(feed.name, asyncio.create_task(self._begin(wanted, feed, where)))

    async def _refuse(self, id_: str) -> None:
        await self._say(Error(id_, "id_in_use", "end that subscription first, or take another id"))

    async def _refuse_late(self, id_: str) -> None:
        """Refuse what asked for the id while its subscription was beginning: not before the answer to that one."""
        while self._refused[id_]:
            await self._refuse(id_)
            self._refused[id_] -= 1
        del self._refused[id_]

    def _begins_at(self, wanted: Subscribe) -> int:
        return max(self._log.head, wanted.after or 0)

    async def _begin(self, wanted: Subscribe, feed: Any, where: Any) -> None:
        """Wait until this node is where the client is, and begin to deliver. Frames are answered meanwhile."""
        try:
            if await self._hub.reach(feed, self._begins_at(wanted)):
                await self._start(wanted, feed, where)
            else:
                await self._say(Error(wanted.id, "not_yet", "this node is behind that position; come back"))
            await self._refuse_late(wanted.id)
        except ConnectionError:
            return  # the loop that receives sees it too, and tidies up
        finally:
            beginning = self._beginning.get(wanted.id)
            if beginning is not None and beginning.task is asyncio.current_task():
                del self._beginning[wanted.id]

    async def _start(self, wanted: Subscribe, feed: Any, where: Any) -> None:
        head = feed.head.value
        after = head if wanted.after is None else wanted.after
        subscription = Subscription(self, messages.encode(wanted.id), feed, where, after)
        subscription.quiet_until = head if after == 0 else 0
        await self._say(Subscribed(wanted.id, self._log.epoch, after, head))
        self._subscriptions[wanted.id] = subscription
        self._hub.join(subscription)

    def _not_of_this_log(self, wanted: Subscribe) -> ResetReason | None:
        if wanted.epoch is not None and wanted.epoch != self._log.epoch:
            return "epoch"
        if wanted.after is not None and wanted.after > self._log.head and self._log.complete:
            return "beyond_head"
        return None

    async def _unsubscribe(self, fields: dict[str, Any]) -> None:
        wanted = fit(fields, Unsubscribe, strict=True, prefix="#/")
        if beginning := self._beginning.pop(wanted.id, None):
            beginning.task.cancel()
            await self._refuse_late(wanted.id)
        subscription = self._subscriptions.pop(wanted.id, None)
        if subscription is not None:
            self._hub.leave(subscription)
        if beginning is None and subscription is None:
            await self._say(Error(wanted.id, "unknown_subscription", "there is no such subscription"))
        else:
            await self._say(Unsubscribed(wanted.id))

    _HANDLERS: ClassVar = {"auth": _authenticate, "subscribe": _subscribe, "unsubscribe": _unsubscribe}
    TYPES = frozenset(_HANDLERS)

    def _admit(self) -> bool:
        """Whether the client has a frame left (a bucket that fills at ``FRAMES_PER_S``)."""
        now = time.monotonic()
        filled = (now - self._frames_counted_at) * FRAMES_PER_S
        self._frames_left = min(FRAMES_BURST, self._frames_left + filled)
        self._frames_counted_at = now
        if self._frames_left < 1:
            return False
        self._frames_left -= 1
        return True

    async def _say(self, message: Any) -> None:
        frame = messages.encode(message)
        while not self.write(frame):
            await self.drained()

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


def upgrade_required() -> web.Response:
    """426, with what to upgrade to (RFC 9110 §15.5.22)."""
    response = problems.answer(problems.UPGRADE_REQUIRED)
    response.headers["Upgrade"] = "websocket"
    response.headers["Connection"] = "Upgrade"
    return response


def _fields(text: str) -> dict[str, Any] | None:
    """The fields of a frame whose type is known, or None."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    is_known = isinstance(value, dict) and isinstance(value.get("type"), str) and value["type"] in Connection.TYPES
    return value if is_known else None


def _bound_buffers(transport: asyncio.Transport | None) -> None:
    if transport is None:
        return
    transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
    if (connected := transport.get_extra_info("socket")) is not None:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
