"""The client's side of a feed: an iterator that outlives its connections.

It holds one pair, (position, epoch), and asks for what comes after it whenever it connects. So it does not matter where
a connection breaks: nothing is missed and nothing comes twice. It receives only when it is asked for more: who takes
slowly is waited for by the service, not buffered here.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Generic, Literal, TypeVar

import aiohttp
import msgspec
from aiohttp import WSMsgType
from yarl import URL

from service.client.errors import (
    ConnectionRefused,
    Forbidden,
    LogReset,
    Problem,
    SubscriptionRefused,
    Unauthorized,
    UnexpectedAnswer,
    problem_of,
    refusal_of,
)
from service.client.frames import EventsFrame, Frame, decoder, items_of
from service.client.requests import Requests, wait_after
from service.live import messages
from service.live.close_codes import BAD_TOKEN, CLOSE_CODES, NOT_ALLOWED, TOO_MANY

Item = TypeVar("Item")

PROTOCOL = "notelog.v1"
RECONNECT_FIRST_S = 0.1
RECONNECT_S_MAX = 10.0
# A service that is full is not asked again at once.
FULL_WAIT_S = 3.0
# A connection that stood so long was a good one: the next waits are short again.
STABLE_S = 5.0
# A service that does not say goodbye is not waited for.
CLOSE_S = 1.0
# The service pings every 25 s and waits 10 s for an answer; who hears nothing for longer is not connected any more.
SILENCE_S = 40.0
# No frame is larger than 1 MiB and what stands around it.
FRAME_BYTES_MAX = 4 * 1024 * 1024
FOR_GOOD = frozenset(code.code for code in CLOSE_CODES if not code.come_back)


class ClientFeed(Generic[Item]):
    """What happens, for as long as it is iterated; breaks are mended on the way. Iterate it in one task at a time.

    ``position`` (with ``epoch``): where to resume, as far as it was handed over; None before the first connection of a
    feed of only what is new. ``head``: the last position when it connected: at that position, all that was there has
    been handed over. ``on_break``: called at each break with why and the seconds until the next try.

    Raises ``LogReset`` when the log is another one (iterate again to begin at 0), ``Unauthorized``, ``Forbidden``,
    ``SubscriptionRefused``, ``ConnectionRefused``, ``UnexpectedAnswer``: after any of them it can be iterated again,
    and goes on where it was. Cancel: safe, nothing is lost. Ends when it or the client is closed; until then it keeps
    its connection, iterated or not.
    """

    def __init__(
        self,
        requests: Requests,
        feed: Literal["events", "notes"],
        after: int | None,
        epoch: str | None,
        where: dict[str, Any],
    ) -> None:
        self.position = after
        self.epoch = epoch
        self.head = 0
        self.on_break: Callable[[str, float], None] = lambda why, wait_s: None
        self._requests = requests
        self._feed = feed
        self._where = {name: value for name, value in where.items() if value is not None}
        self._items: deque[tuple[Any, int]] = deque()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._token: str | None = None
        self._failures = 0
        self._connected_at = 0.0
        self._closed = False

    def __aiter__(self) -> "ClientFeed[Item]":
        return self

    async def __anext__(self) -> Item:
        while not self._items:
            if self._is_closed:
                await self._drop()  # a connection that was being made meanwhile
                raise StopAsyncIteration
            if self._socket is None:
                await self._connect()
            else:
                await self._receive(self._socket)
        item, self.position = self._items.popleft()
        return item  # type: ignore[no-any-return]

    async def close(self) -> None:
        """Let go of the connection; the iteration ends. Twice is fine."""
        self._closed = True
        self._items.clear()
        await self._drop()

    @property
    def _is_closed(self) -> bool:
        return self._closed or self._requests.session.closed

    async def _connect(self) -> None:
        """One try; after one that failed, a wait. Who has no token is told so at once: nothing is waited for."""
        self._token = self._requests.token
        try:
            socket = await self._requests.session.ws_connect(
                URL(f"{self._requests.url}/ws", encoded=True),
                protocols=(PROTOCOL,),
                headers=self._requests.authorization(),
                timeout=aiohttp.ClientWSTimeout(ws_receive=SILENCE_S, ws_close=CLOSE_S),
                max_msg_size=FRAME_BYTES_MAX,
            )
            await self._open(socket)
        except aiohttp.WSServerHandshakeError as error:
            await self._refused(error)
        except aiohttp.InvalidURL as error:
            raise UnexpectedAnswer(self._requests.url, f"it is no URL: {error}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            await self._come_back(str(error) or "no answer")
        else:
            self._socket, self._connected_at = socket, monotonic()

    async def _open(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Subscribe; a connection on which that does not come to its end is let go."""
        try:
            await socket.send_str(self._subscribe())
        except BaseException:
            await socket.close()
            raise

    def _subscribe(self) -> str:
        wanted = messages.Subscribe("subscribe", "feed", self._feed, self.position, self.epoch, self._where or None)
        fields = msgspec.structs.asdict(wanted)
        return messages.encode({name: value for name, value in fields.items() if value is not None}).decode()

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        try:
            message = await socket.receive()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            await self._come_back(str(error) or f"nothing was heard for {SILENCE_S:.0f} s")
            return
        if message.type is WSMsgType.TEXT:
            await self._take(self._decoded(message.data))
        elif not self._is_closed:
            await self._ended(socket.close_code or 1006, str(message.extra or ""))

    def _decoded(self, text: str) -> Frame:
        try:
            return decoder.decode(text)
        except msgspec.DecodeError as error:
            raise UnexpectedAnswer(self._requests.url, str(error)) from error

    async def _take(self, frame: Frame) -> None:
        match frame:
            case messages.Subscribed():
                self.position, self.epoch, self.head = frame.after, frame.epoch, frame.head
            case EventsFrame() | messages.Notes():
                self._hand_over(frame)
            case messages.CaughtUp():
                self.position = frame.position
            case messages.Reset():
                await self._drop()
                self.position, self.epoch = 0, frame.epoch
                raise LogReset(frame.reason, frame.epoch, frame.head)
            case messages.Error():
                await self._not_subscribed(frame)
            case _:
                pass  # Hello, Unsubscribed: nothing to be done

    def _hand_over(self, frame: EventsFrame | messages.Notes) -> None:
        """Queue the items, each with the place to resume at once it was taken; the last one's is that of the frame."""
        before = self.position or 0
        self._items.extend(items_of(frame, before))
        if self._items:
            self._items.append((self._items.pop()[0], frame.position))
        else:
            self.position = frame.position
        if frame.position > before:
            self._failures = 0
        if self.epoch is not None:
            self._requests.saw(self.epoch, frame.position)

    async def _not_subscribed(self, error: messages.Error) -> None:
        if error.code in ("not_yet", "rate_limited"):
            await self._come_back(error.message)
            return
        await self._drop()
        if error.code == "forbidden":
            raise refusal_of(Forbidden, NOT_ALLOWED.code, error.message)
        raise SubscriptionRefused(error.code, error.message)

    async def _ended(self, code: int, reason: str) -> None:
        """The service, or something on the way, ended the connection."""
        if code == BAD_TOKEN.code and self._token != self._requests.token:
            await self._come_back("the token has expired")  # and there is another one
        elif code == TOO_MANY.code:
            await self._come_back(reason, FULL_WAIT_S)
        elif code not in FOR_GOOD:
            await self._come_back(reason or f"the connection ended ({code})")
        else:
            await self._drop()
            raise _refusal(code, reason)

    async def _refused(self, error: aiohttp.WSServerHandshakeError) -> None:
        """The upgrade was answered with an HTTP error."""
        if error.status in (401, 403):
            kind: type[Problem] = Unauthorized if error.status == 401 else Forbidden
            raise refusal_of(kind, error.status, error.message) from error
        if error.status < 500 and error.status not in (408, 429):
            raise problem_of(error.status) from error
        after = error.headers.get("Retry-After", "") if error.headers else ""
        await self._come_back(f"{error.status} {error.message}", float(after) if after.isdigit() else 0.0)

    async def _come_back(self, why: str, at_least_s: float = 0.0) -> None:
        """Let go of the connection and wait, longer after each failure."""
        if self._socket is not None and monotonic() - self._connected_at > STABLE_S:
            self._failures = 0
        await self._drop()
        if self._is_closed:
            return
        failures, self._failures = self._failures, self._failures + 1
        wait_s = wait_after(failures, RECONNECT_FIRST_S, RECONNECT_S_MAX, at_least_s)
        self.on_break(why, wait_s)
        await asyncio.sleep(wait_s)

    async def _drop(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()


def _refusal(code: int, reason: str) -> Exception:
    if code == BAD_TOKEN.code:
        return refusal_of(Unauthorized, code, reason)
    if code == NOT_ALLOWED.code:
        return refusal_of(Forbidden, code, reason)
    return ConnectionRefused(code, reason)
