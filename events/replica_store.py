"""The reading half of the distributed log: a replica that one task, the follower, keeps up with the stream.

Over one connection after the other it copies what comes into ``events.db``, and asks again and again for the stream's
last position, which shows that the servers live and how far behind the replica is. While they do not answer, whatever
reads goes on from what is here.
"""

import asyncio
import sqlite3
import time
from functools import partial
from pathlib import Path

from events import fitness, replica
from events.database import Database
from events.errors import BrokenLog, ClusterError, ClusterUnreachable, FolderError, LogUnavailable, StreamImporting
from events.fitness import is_there, require_fit
from events.folder import require_room
from events.jetstream import Stream, StreamGone
from events.nats_settings import NatsSettings
from events.shared import Shared
from events.store import EventStore
from events.stream_answers import NoAnswer, NotStored
from events.stream_configuration import Identity
from events.stream_feed import Feed
from events.watermark import Watermark

RETRY_S = 0.2
# How often the servers are asked for the last position.
PROBE_INTERVAL_S = 1.0
# Servers that do not answer for this long are another server's turn; for longer, writes are refused at once.
RENEW_AFTER_S = 3.0
FAULT_AFTER_S = 12.0
# A replica further behind than this shows the past: the node is not ready.
BEHIND_EVENTS_MAX = 10_000
# The first connection of a new node; after that the supervisor may start it again.
START_WITHIN_S = 30.0
# Longer than letting a connection go takes.
STOP_AGAIN_AFTER_S = 3.0
# One transaction of the replica: the follower takes what has come, up to this.
BATCH_EVENTS_MAX = 5_000


class ReplicaStore(EventStore):
    """A replica of the stream that follows it. ``_stream``: the connection of the moment, None without one."""

    def __init__(self, path: Path, settings: NatsSettings) -> None:
        super().__init__(path)
        self._settings = settings
        self._stream: Stream | None = None
        self._identity = Identity("")
        self._database: Database | None = None
        self._closing = False
        self._broken = asyncio.get_running_loop().create_future()
        self._trouble = "it was not reached yet"
        self._contact = 0.0
        self._gone_since: float | None = None
        self._ends = Shared(self._ask_for_end)
        self._end = 0
        self._first_end = Watermark()  # 1 when it was reached
        self._full: str | None = None
        self._follower: asyncio.Task[None]

    @property
    def complete(self) -> bool:
        return False

    @property
    def fault(self) -> str | None:
        if self._broken.done():
            return str(self._broken.result())
        if time.monotonic() - self._contact > FAULT_AFTER_S or self._database is None:
            return self._trouble
        if self._full:
            return self._full
        if not self._first_end.value or self._end - self.head > BEHIND_EVENTS_MAX:
            return f"the replica is catching up with the stream: {self.head} of {self._end} events"
        return None

    async def caught_up(self) -> None:
        await self._first_end.reach(1)

    async def broken(self) -> FolderError:
        return await asyncio.shield(self._broken)

    def _birth(self) -> dict[str, str]:
        birth = {"epoch": self._identity.epoch, "stream": self._settings.stream}
        if parent := self._identity.parent:
            birth |= {"parent_epoch": parent.epoch, "parent_position": str(parent.position)}
        return birth

    def _require_room(self, size_bytes: int) -> None:
        """Refuse what the replica has no room for: recorded elsewhere, it could not be shown here."""
        self._full = None
        try:
            require_room(self.path.parent, size_bytes)
        except LogUnavailable as refused:
            self._full = refused.reason
            raise

    async def _begin(self) -> None:
        """Start the follower and wait for its first connection; without one an old replica will do.

        Raises ``FolderError``, ``ClusterError``.
        """
        if await asyncio.to_thread(is_there, self.path):
            await self._open_replica()
        connected = asyncio.Event()
        self._follower = asyncio.create_task(self._follow_until_closed(connected), name="log follower")
        waiting = asyncio.create_task(connected.wait())
        try:
            await asyncio.wait([waiting, self._follower], timeout=START_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
            if self._follower.done():
                self._follower.result()
            if self._database is None:
                raise ClusterUnreachable(self._settings.shown_servers, self._trouble)
            await self._open_readers()
        except BaseException:
            await self._stop()
            raise
        finally:
            waiting.cancel()

    async def _stop(self) -> None:
        """End the follower, and close the replica."""
        self._closing = True
        while not self._follower.done():
            self._follower.cancel()
            # Again: a library may have swallowed the first.
            await asyncio.wait([self._follower], timeout=STOP_AGAIN_AFTER_S)
        if self._database is not None:
            await self._database.close()
            self._database = None

    async def _follow_until_closed(self, connected: asyncio.Event) -> None:
        """Copy the stream into the replica, over one connection after the other."""
        last: str | None = None
        while not self._closing:
            try:
                async with Stream.connected(self._settings, last, birth=None if self.epoch else {}) as stream:
                    last = stream.server
                    await self._begin_on(stream)
                    connected.set()
                    await self._follow(stream)
            except (FolderError, ClusterError) as error:
                self._trouble = str(error)
                if self._is_final(error, connected.is_set()):
                    if not connected.is_set():
                        raise
                    self._broken.set_result(error)
                    return
            except (NoAnswer, NotStored, replica.Hole, TimeoutError) as error:
                self._trouble = f"the stream does not answer: {error or type(error).__name__}"
            except (sqlite3.Error, ValueError, OSError) as error:
                self._trouble = f"the replica cannot be written: {error}"
                await self._let_go()
            except Exception as error:
                # Whatever the client library did: it is tried anew, and if that does not help the fault says it.
                self._trouble = repr(error)
            finally:
                self._stream = None
            await asyncio.sleep(RETRY_S)

    def _is_final(self, error: FolderError | ClusterError, was_connected: bool) -> bool:
        """Whether trying again is of no use. At the start only servers that are not up yet are waited for."""
        if isinstance(error, StreamGone):
            # Servers that start may not know the stream for a moment; these have had their time.
            self._gone_since = self._gone_since or time.monotonic()
            return time.monotonic() - self._gone_since > fitness.FIT_WITHIN_S
        return isinstance(error, BrokenLog) or not (was_connected or isinstance(error, ClusterUnreachable))

    async def _begin_on(self, stream: Stream) -> None:
        """Take a new connection into use, if the stream on it is the replica's."""
        self._gone_since = None
        if stream.identity.importing is not None:
            raise StreamImporting(self._settings.stream, stream.identity.importing)
        self._identity = stream.identity
        database = await self._open_replica()
        self._reached(await require_fit(stream, database, self.epoch, self.head))
        self._stream = stream

    async def _open_replica(self) -> Database:
        if self._database is not None:
            # A write that was under way when the last connection was lost has run to its end since.
            await self._show_found(self._database)
        elif self.epoch:
            self._database = await self._open_again()
        else:
            self._database, head = await self._open_writer()
            self._head.raise_to(head)
        return self._database

    async def _let_go(self) -> None:
        """Close a connection whose last commit is in doubt; the file is opened anew."""
        database, self._database = self._database, None
        if database is not None:
            try:
                await database.close()
            except (sqlite3.Error, ValueError):
                pass

    async def _follow(self, stream: Stream) -> None:
        """Copy and watch, until one of them fails or the connection is lost."""
        async with stream.feed(self.head) as feed:
            tasks = [asyncio.create_task(work) for work in (self._copy(feed), self._watch(), _when_lost(stream))]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    async def _copy(self, feed: Feed) -> None:
        while True:
            messages = await feed.take()
            for start in range(0, len(messages), BATCH_EVENTS_MAX):
                await self._write(messages[start : start + BATCH_EVENTS_MAX])

    async def _write(self, messages: list[replica.Received]) -> None:
        assert self._database is not None
        started = time.perf_counter()
        records = await self._database.run(partial(replica.write, messages=messages))
        self._show(records)
        self._note_progress()
        self.on_commit(len(records), time.perf_counter() - started)

    async def _watch(self) -> None:
        """Ask for the last position again and again. Raises ``NoAnswer`` when none came for a while, or the replica
        stands still behind it: then another server may do better."""
        moved, head = time.monotonic(), self.head
        while True:
            await asyncio.sleep(PROBE_INTERVAL_S)
            try:
                if self._full:
                    self._require_room(0)
            except LogUnavailable:
                pass  # as before
            try:
                await self._ends.value()
            except (NoAnswer, NotStored) as error:
                self._trouble = f"the stream does not answer: {error}"
            now = time.monotonic()
            if self.head > head or self.head >= self._end:
                moved, head = now, self.head
            if now - self._contact > RENEW_AFTER_S or now - moved > 2 * RENEW_AFTER_S:
                raise NoAnswer(self._trouble)

    async def _ask_for_end(self) -> int:
        if self._stream is None:
            raise NotStored(self._trouble)
        end = await self._stream.last_position()
        self._reached(end)
        return end

    def _reached(self, end: int) -> None:
        """The stream has answered; its last position is ``end``."""
        self._contact = time.monotonic()
        self._end = max(self._end, end)
        self._note_progress()

    def _note_progress(self) -> None:
        if self.head >= self._end:
            self._first_end.raise_to(1)

    async def _catch_up(self) -> None:
        """Return when everything that was appended anywhere before the call is visible here. Time is the caller's."""
        while True:
            try:
                end = await self._ends.value()
            except (NoAnswer, NotStored) as error:
                self._trouble = f"the stream does not answer: {error}"
                if self.fault:
                    raise LogUnavailable(self.fault) from None
                await asyncio.sleep(RETRY_S)
            else:
                await self._head.reach(end)
                return


async def _when_lost(stream: Stream) -> None:
    await stream.lost.wait()
    raise NoAnswer("the connection is lost")
