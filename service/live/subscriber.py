"""A client of the websocket: what its frames ask for, and its up to 16 subscriptions. The hub writes the feeds."""

import asyncio
import time
from collections import Counter
from typing import Any, ClassVar, NamedTuple

import msgspec
from aiohttp import web

from events.log import EventLog
from service.errors import Invalid
from service.live import messages
from service.live.close_codes import BAD_FRAME, BAD_TOKEN
from service.live.connection import PING_INTERVAL_S, Connection
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
from service.live.socket_auth import FEED_SCOPE, SocketAuth
from service.notes.bodies import fit

SUBSCRIPTIONS_MAX = 16
# Inbound frames: so many at once, then so many a second.
FRAMES_BURST = 100
FRAMES_PER_S = 50


class Beginning(NamedTuple):
    """A subscription that waits for this node to be where the client is."""

    feed: str
    task: asyncio.Task[None]


class Subscriber(Connection):
    """One client. ``auth`` None: nobody is asked for a token."""

    def __init__(
        self, response: web.WebSocketResponse, request: web.Request, log: EventLog, hub: Hub, auth: SocketAuth | None
    ) -> None:
        super().__init__(response, request)
        self._auth = auth
        self._log = log
        self._hub = hub
        self._subscriptions: dict[str, Subscription] = {}
        self._beginning: dict[str, Beginning] = {}
        self._refused: Counter[str] = Counter()
        self._frames_left = float(FRAMES_BURST)
        self._frames_counted_at = time.monotonic()

    def check(self, now: float) -> None:
        """Also end when the token does."""
        if self._auth is not None and (ending := self._auth.ending()) is not None:
            self.end(*ending)
        else:
            super().check(now)

    def leave_all(self) -> None:
        """End all subscriptions: the connection is gone."""
        for beginning in self._beginning.values():
            beginning.task.cancel()
        for subscription in self._subscriptions.values():
            self._hub.leave(subscription)
        self._subscriptions.clear()
        self.forget()

    async def greet(self) -> None:
        if self._auth is None or not self._auth.missing:
            await self.say(Hello(self._log.epoch, self._log.head, PING_INTERVAL_S))

    async def receive(self, text: str) -> None:
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
            await self.say(Error(given_id, "rate_limited", f"more than {FRAMES_PER_S} frames a second"))
            return
        try:
            await self._HANDLERS[fields["type"]](self, fields)
        except Invalid as invalid:
            await self.say(Error(given_id, "bad_request", str(invalid)))

    async def _authenticate(self, fields: dict[str, Any]) -> None:
        """The first token is answered with the greeting, a renewal with nothing; where none is asked for, neither."""
        shown = fit(fields, Auth, strict=True, prefix="#/")
        if self._auth is None:
            return
        first = self._auth.missing
        if (ending := await self._auth.show(shown.token, self._followed())) is not None:
            await self.close(*ending)
        elif first:
            await self.greet()

    def _followed(self) -> set[str]:
        """The feeds of the subscriptions, those that are beginning too."""
        followed = {subscription.feed.name for subscription in self._subscriptions.values()}
        return followed | {beginning.feed for beginning in self._beginning.values()}

    async def _subscribe(self, fields: dict[str, Any]) -> None:
        wanted = fit(fields, Subscribe, strict=True, prefix="#/")
        feed = self._hub.feeds[wanted.feed]
        where = feed.where(wanted.where) if wanted.where else feed.everything
        if self._auth is not None and not self._auth.allows(wanted.feed):
            await self.say(Error(wanted.id, "forbidden", f"the token needs the scope {FEED_SCOPE[wanted.feed]}"))
        elif wanted.id in self._beginning:
            self._refused[wanted.id] += 1
        elif wanted.id in self._subscriptions:
            await self._refuse(wanted.id)
        elif len(self._subscriptions) + len(self._beginning) >= SUBSCRIPTIONS_MAX:
            await self.say(Error(wanted.id, "too_many_subscriptions", f"at most {SUBSCRIPTIONS_MAX} a connection"))
        elif reason := self._not_of_this_log(wanted):
            await self.say(Reset(wanted.id, reason, self._log.epoch, self._log.head))
        elif feed.head.value >= self._begins_at(wanted):
            await self._start(wanted, feed, where)
        else:
            self._beginning[wanted.id] = Beginning(feed.name, asyncio.create_task(self._begin(wanted, feed, where)))

    async def _refuse(self, id_: str) -> None:
        await self.say(Error(id_, "id_in_use", "end that subscription first, or take another id"))

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
                await self.say(Error(wanted.id, "not_yet", "this node is behind that position; come back"))
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
        await self.say(Subscribed(wanted.id, self._log.epoch, after, head))
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
            await self.say(Error(wanted.id, "unknown_subscription", "there is no such subscription"))
        else:
            await self.say(Unsubscribed(wanted.id))

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


def _fields(text: str) -> dict[str, Any] | None:
    """The fields of a frame whose type is known, or None."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    is_known = isinstance(value, dict) and isinstance(value.get("type"), str) and value["type"] in Subscriber.TYPES
    return value if is_known else None
