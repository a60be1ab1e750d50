"""Who gets what when: those at the head are written to directly, those behind catch up in tasks of their own.

Subscribers at the head with the same filter form a group and share one position: what is new is packed into frames
once for all of them and written to each without a task switch. A subscriber whose connection does not take a frame
leaves the group with the position that it has reached, and a task of its own reads on from there, at the reader's pace,
until it is at the head again. However slow it is, it costs one integer, one task and the bytes in its socket.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import structlog

from events import codec
from events.errors import EventError, NotelogError
from events.log import EventLog
from events.record import RecordedEvent
from events.subscription import follow
from service.live.feeds import EventsFeed, Feed, Frame, NotesFeed
from service.live.ring import EventItem
from service.metrics import Metrics

logger = structlog.get_logger(__name__)

# How many of those who are behind read at the same moment, so that ten thousand who resume leave room for writers.
READERS_MAX = 4
# A filter that lets nothing through: the subscriber's place to resume moves on after so many positions, or so long.
SILENT_POSITIONS_MAX = 10_000
SILENT_S_MAX = 30.0
# How long a subscriber waits for a node that is behind its position before it is told so.
NOT_YET_S = 5.0
# After a fault of the log that may pass.
RETRY_READ_S = 0.5


class Socket(Protocol):
    """What the hub needs of a connection."""

    def write(self, frame: bytes) -> bool:
        """Write a text frame, now. False when the connection does not take more: then nothing was written."""

    async def drained(self) -> None:
        """Return when the connection takes more. Raises ``ConnectionError`` when it is gone."""

    def fail(self, error: Exception) -> None:
        """End the connection because of a fault of ours; the client comes back and resumes."""


class Subscription:
    """One feed, from one position on, for one connection. While it is in its group, the group has the position."""

    __slots__ = ("feed", "group", "id_json", "position", "prefix", "quiet_until", "silent_since", "socket", "task")

    def __init__(self, socket: Socket, id_json: bytes, feed: Feed[Any, Any], where: Any, position: int) -> None:
        self.socket = socket
        self.feed = feed
        self.id_json = id_json
        self.prefix = b'{"type":"%b","id":%b' % (feed.name.encode(), id_json)
        self.group = (feed.name, where)
        self.position = position
        self.quiet_until = 0
        self.silent_since = position
        self.task: asyncio.Task[None] | None = None

    def send(self, frame: Frame) -> bool:
        """Write a frame, if the connection takes it."""
        return self.socket.write(self.prefix + frame.tail)

    def say_caught_up(self) -> bool:
        """Tell the subscriber that it has everything up to now."""
        return self.socket.write(b'{"type":"caught_up","id":%b,"position":%d}' % (self.id_json, self.position))


class Group:
    """The subscriptions at the head of a feed with one filter."""

    def __init__(self, feed: Feed[Any, Any], where: Any, metrics: Metrics) -> None:
        self.feed = feed
        self._metrics = metrics
        self.where = where
        self.position = feed.head.value
        self.members: dict[Subscription, None] = {}
        self._said = self.position
        self._said_at = time.monotonic()

    def deliver(self) -> list[Subscription]:
        """Write what is new to everybody; returns those who did not take it, at the position that they have."""
        if self.position < self.feed.ring.floor:
            return self._give_up()
        frames = self.feed.frames(self.feed.ring.after(self.position), self.where)
        left = []
        for frame in frames:
            if frame.items or self._silent_for_long(frame.position):
                left += self._write(frame)
            self.position = frame.position
        return left

    def move_on(self) -> list[Subscription]:
        """Let the place to resume move, if nothing was written for long."""
        if self._silent_for_long(self.position):
            return self._write(self.feed.empty(self.position))
        return []

    def _write(self, frame: Frame) -> list[Subscription]:
        left = [member for member in self.members if not member.send(frame)]
        for member in left:
            member.position = self.position
            del self.members[member]
        self._metrics.delivered_to(self.feed.name, len(self.members), len(frame.tail))
        if left:
            self._metrics.fell_behind.labels(self.feed.name).inc(len(left))
        self._said, self._said_at = frame.position, time.monotonic()
        return left

    def _give_up(self) -> list[Subscription]:
        """The ring has run away from the group: each member catches up by itself."""
        left = list(self.members)
        for member in left:
            member.position = self.position
        self.members.clear()
        self.position = self._said = self.feed.head.value
        return left

    def _silent_for_long(self, position: int) -> bool:
        return position - self._said >= SILENT_POSITIONS_MAX or (
            position > self._said and time.monotonic() - self._said_at >= SILENT_S_MAX
        )


class Hub:
    """Delivers the feeds to the subscriptions."""

    def __init__(self, log: EventLog, events: EventsFeed, notes: NotesFeed, metrics: Metrics) -> None:
        self.feeds: dict[str, Feed[Any, Any]] = {"events": events, "notes": notes}
        self._log = log
        self._metrics = metrics
        self._groups: dict[tuple[str, Any], Group] = {}
        self._reading = asyncio.Semaphore(READERS_MAX)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver, for as long as the context is open."""
        tasks = [
            asyncio.create_task(self._follow_log(), name="hub: log"),
            *(asyncio.create_task(self._deliver(feed), name=f"hub: {feed.name}") for feed in self.feeds.values()),
            asyncio.create_task(self._move_on(), name="hub: move on"),
        ]
        for task in tasks:
            task.add_done_callback(_log_end)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def reach(self, feed: Feed[Any, Any], position: int) -> bool:
        """Wait until the feed is at the position; False when it is not there in ``NOT_YET_S``."""
        if feed.head.value >= position:
            return True
        with suppress(TimeoutError, NotelogError):
            async with asyncio.timeout(NOT_YET_S):
                await feed.head.reach(position)
            return True
        return False

    def join(self, subscription: Subscription) -> None:
        """Begin to deliver to the subscription, from its position on. Once; ``leave`` it in the end."""
        subscription.feed.followers += 1
        self._fall_behind(subscription)

    def _fall_behind(self, subscription: Subscription) -> None:
        subscription.task = asyncio.create_task(self._catch_up(subscription))

    def leave(self, subscription: Subscription) -> None:
        """Deliver nothing more to the subscription."""
        subscription.feed.followers -= 1
        if subscription.task is not None:
            subscription.task.cancel()
        group = self._groups.get(subscription.group)
        if group is not None:
            group.members.pop(subscription, None)
            if not group.members:
                del self._groups[subscription.group]

    async def _follow_log(self) -> None:
        """Show what is appended, through faults of the log that pass, up to an event that is not understood."""
        feed = self.feeds["events"]
        while True:
            try:
                async for page in follow(self._log, feed.head.value):
                    known, unknown = _known(page)
                    self._show(feed, known)
                    if unknown is not None:
                        logger.error("feed stopped", feed=feed.name, error=str(unknown))
                        feed.head.stop(unknown)
                        return
            except sqlite3.OperationalError as error:
                logger.warning("the log cannot be read, trying again", error=str(error))
                await asyncio.sleep(RETRY_READ_S)
            except Exception as error:
                logger.error("feed stopped", feed=feed.name, exc_info=error)
                feed.head.stop(NotelogError(f"the feed {feed.name} has stopped: {error!r}"))
                for group in self._groups_of(feed):
                    self._end(group, error)
                return

    def _show(self, feed: Feed[Any, Any], records: list[RecordedEvent]) -> None:
        if feed.followers:
            feed.show([EventItem(record.position, record) for record in records])
        elif records:
            feed.skip_to(records[-1].position)

    async def _deliver(self, feed: Feed[Any, Any]) -> None:
        """Write what is new to those at the head, until the feed has stopped."""
        delivered = feed.head.value
        while True:
            try:
                await feed.head.reach(delivered + 1)
            except NotelogError:
                return  # said by whoever has stopped it
            delivered = feed.head.value
            for group in self._groups_of(feed):
                try:
                    for subscription in group.deliver():
                        self._fall_behind(subscription)
                except Exception as error:
                    self._end(group, error)
                # Others have a turn between the groups, and between the pages.
                await asyncio.sleep(0)

    def _groups_of(self, feed: Feed[Any, Any]) -> list[Group]:
        return [group for group in self._groups.values() if group.feed is feed]

    def _end(self, group: Group, error: Exception) -> None:
        """End the connections of a group that cannot be served: they come back, here or to another node."""
        self._groups.pop((group.feed.name, group.where), None)
        for subscription in group.members:
            subscription.socket.fail(error)

    async def _move_on(self) -> None:
        while True:
            await asyncio.sleep(1)
            for group in list(self._groups.values()):
                for subscription in group.move_on():
                    self._fall_behind(subscription)

    async def _catch_up(self, subscription: Subscription) -> None:
        """Bring the subscription to the head at its reader's pace, then put it into its group."""
        try:
            while True:
                await subscription.socket.drained()
                if subscription.position < subscription.feed.head.value:
                    await self._send_some(subscription)
                elif subscription.say_caught_up():
                    self._enter_group(subscription)
                    return
        except ConnectionError:
            return  # whoever reads the connection sees it too, and tidies up
        except Exception as error:
            subscription.socket.fail(error)

    def _enter_group(self, subscription: Subscription) -> None:
        """Share the group's position from now on. No await: the two positions are the head's, and stay so."""
        group = self._groups.get(subscription.group)
        if group is None:
            group = self._groups[subscription.group] = Group(subscription.feed, subscription.group[1], self._metrics)
        for behind in group.deliver():
            self._fall_behind(behind)
        assert group.position == subscription.position, f"expected {group.position}, got {subscription.position}"
        subscription.task = None
        group.members[subscription] = None

    async def _send_some(self, subscription: Subscription) -> None:
        where = subscription.group[1]
        async with self._reading:
            frames, position = await subscription.feed.behind(subscription.position, where, subscription.quiet_until)
        for frame in frames:
            if frame.items or frame.position - subscription.silent_since >= SILENT_POSITIONS_MAX:
                if not subscription.send(frame):
                    return
                subscription.silent_since = frame.position
            subscription.position = frame.position
        subscription.position = position


def _log_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("task of the hub failed", task=task.get_name(), exc_info=error)


def _known(page: list[RecordedEvent]) -> tuple[list[RecordedEvent], EventError | None]:
    """The events up to the first that this version does not understand, and what is wrong with that one."""
    for place, record in enumerate(page):
        try:
            codec.require_known(record)
        except EventError as error:
            return page[:place], error
    return page, None
