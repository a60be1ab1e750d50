"""The distributed engine: one stream in NATS JetStream, and on each node a replica of it in ``events.db``.

The problem: any node must take any command, and every node must show the same log. The way taken: the stream gives the
order; one task of each node, the follower, copies it into the replica, and everything that reads stays the code of the
embedded log. Only an append talks to the servers: it publishes with a guard, and returns when the replica holds the
position, so that a writer reads its own writes here.

A publish that was not answered may have been stored or not. It is sent again, the same bytes with the same guard,
until an answer comes or time is up: the guard lets at most one of them in, and the salt tells our own record from
another's. While the servers do not answer, reads go on from the replica.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from events import replica
from events.batch import SALT_BYTES
from events.database import Database
from events.errors import (
    BrokenLog,
    ClusterError,
    ClusterUnreachable,
    CommandReused,
    FolderError,
    LogBusy,
    LogError,
    LogUnavailable,
    OutcomeUnknown,
    WrongExpectedPosition,
)
from events.folder import require_room
from events.jetstream import Conflict, Feed, NatsSettings, NoAnswer, NotStored, Stream, require_epoch, require_fit
from events.log import Appended
from events.record import NewEvent, RecordedEvent
from events.store import EventStore, select_page
from events.watermark import Watermark

# An append is tried for this long: the death of a leader takes 5 to 8 s, and a client waits for 20 to 30.
APPEND_WITHIN_S = 15.0
RETRY_S = 0.2
# What may be under way at once; whoever comes then is told to come back.
APPENDS_MAX = 10_000
APPENDING_BYTES_MAX = 64 * 1024 * 1024
# Publishes that the servers have at once; more would only wait there.
PUBLISHES_MAX = 256
# How often the servers are asked for the last position: it shows that they live, and how far behind we are.
PROBE_INTERVAL_S = 1.0
# Servers that do not answer for this long are another server's turn; for longer, writes are refused at once.
RENEW_AFTER_S = 3.0
FAULT_AFTER_S = 12.0
# A replica further behind than this shows the past: the node is not ready.
BEHIND_EVENTS_MAX = 10_000
# A server that has just become the leader may know less for a moment than it will in the end.
FIT_WITHIN_S = 10.0
# The first connection of a new node; after that the supervisor may start it again.
START_WITHIN_S = 30.0
CLOSE_WITHIN_S = 4.0
# One transaction of the replica: the follower takes what has come, up to this.
BATCH_EVENTS_MAX = 5_000


class JetStreamLog(EventStore):
    """The log in a stream, and this node's replica of it."""

    def __init__(self, path: Path, settings: NatsSettings) -> None:
        super().__init__(path)
        self._settings = settings
        self._stream: Stream | None = None
        self._stream_epoch = ""
        self._database: Database | None = None
        self._closing = False
        self._broken: str | None = None
        self._trouble = "it was not reached yet"
        self._contact = 0.0
        self._ends = _Shared(self._ask_for_end)
        self._end = 0
        self._first_end = Watermark()  # 1 when it was reached
        self._full: str | None = None
        self._appends: set[asyncio.Task[Appended]] = set()
        self._appending_bytes = 0
        self._publishes = asyncio.Semaphore(PUBLISHES_MAX)
        self._commands: dict[bytes, _Line] = {}
        self._follower: asyncio.Task[None]

    @classmethod
    async def open(cls, path: Path, settings: NatsSettings) -> "JetStreamLog":
        """Open the replica, making it and the stream if there are none; it catches up in the background.

        Without a server that answers a replica which is there is opened for reading, and a new one is not made.
        Raises ``FolderError``, ``ClusterError``.
        """
        log = cls(path, settings)
        connected = asyncio.Event()
        log._follower = asyncio.create_task(log._follow_until_closed(connected), name="log follower")
        try:
            await log._begun(connected)
            await log._open_readers()
        except BaseException:
            await log._stop()
            raise
        return log

    @property
    def complete(self) -> bool:
        return False

    @property
    def fault(self) -> str | None:
        if self._broken:
            return self._broken
        if time.monotonic() - self._contact > FAULT_AFTER_S or self._database is None:
            return self._trouble
        if self._full:
            return self._full
        if not self._first_end.value or self._end - self.head > BEHIND_EVENTS_MAX:
            return f"the replica is catching up with the stream: {self.head} of {self._end} events"
        return None

    @property
    def queued_events(self) -> int:
        """How many appends are under way."""
        return len(self._appends)

    async def append(self, event: NewEvent, expected: int) -> Appended:
        if self._closing:
            raise LogUnavailable("it is shutting down")
        if fault := self.fault:
            raise LogUnavailable(fault)
        if len(self._appends) >= APPENDS_MAX or self._appending_bytes >= APPENDING_BYTES_MAX:
            raise LogBusy(len(self._appends), self._appending_bytes)
        self._require_room(event.size_bytes)
        append = asyncio.create_task(_Append(self, event, expected).run())
        self._appends.add(append)
        self._appending_bytes += event.size_bytes
        append.add_done_callback(partial(self._appended, event.size_bytes))
        return await asyncio.shield(append)

    async def find(self, command: bytes) -> RecordedEvent | None:
        """As the contract says; what another node has appended before the call is found too.

        Raises ``LogUnavailable`` when it is not here and the servers cannot be asked.
        """
        if record := await super().find(command):
            return record
        try:
            async with asyncio.timeout(APPEND_WITHIN_S):
                await self._catch_up()
        except TimeoutError:
            raise LogUnavailable(self._trouble) from None
        return await super().find(command)

    async def caught_up(self) -> None:
        """Return when the replica has everything that the stream had when this log was opened."""
        await self._first_end.reach(1)

    async def close(self) -> None:
        self._closing = True
        if self._appends:
            await asyncio.wait(self._appends, timeout=CLOSE_WITHIN_S)
        for append in list(self._appends):
            append.cancel()
        if self._appends:
            await asyncio.wait(self._appends)
        await self._close_readers()
        await self._stop()

    def _birth(self) -> dict[str, str]:
        return {"epoch": self._stream_epoch, "stream": self._settings.stream}

    def _require_room(self, size_bytes: int) -> None:
        """Refuse what the replica has no room for: recorded elsewhere, it could not be shown here."""
        self._full = None
        try:
            require_room(self.path.parent, size_bytes)
        except LogUnavailable as refused:
            self._full = refused.reason
            raise

    def _appended(self, size_bytes: int, append: asyncio.Task[Appended]) -> None:
        self._appends.discard(append)
        self._appending_bytes -= size_bytes
        if not append.cancelled():
            append.exception()  # taken here too, for callers who were cancelled

    async def _begun(self, connected: asyncio.Event) -> None:
        """Wait for the first connection; without one an old replica will do."""
        waiting = asyncio.create_task(connected.wait())
        await asyncio.wait([waiting, self._follower], timeout=START_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._follower.done():
            self._follower.result()
        if not connected.is_set():
            if not self.path.exists():
                raise ClusterUnreachable(", ".join(self._settings.servers), self._trouble)
            await self._open_replica()

    async def _stop(self) -> None:
        self._closing = True
        self._follower.cancel()
        await asyncio.wait([self._follower])
        if self._database is not None:
            await self._database.close()
            self._database = None

    async def _follow_until_closed(self, connected: asyncio.Event) -> None:
        """Copy the stream into the replica, over one connection after the other."""
        last: str | None = None
        while not self._closing:
            try:
                async with Stream.connected(self._settings, last) as stream:
                    last = stream.server
                    self._stream_epoch = stream.epoch
                    await self._open_replica()
                    await self._require_fit(stream)
                    self._stream = stream
                    connected.set()
                    await self._follow(stream)
            except (FolderError, ClusterError) as error:
                # At the start only servers that are not up yet are waited for.
                if not connected.is_set() and not isinstance(error, ClusterUnreachable):
                    raise
                self._trouble = str(error)
                if isinstance(error, BrokenLog):
                    self._broken = str(error)
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

    async def _open_replica(self) -> None:
        if self._database is None:
            if self.epoch:
                self._database = await self._open_again()
            else:
                self._database, head = await self._open_writer()
                self._head.raise_to(head)
        else:
            # A write that was under way when the last connection was lost has run to its end since.
            await self._show_found(self._database)

    async def _let_go(self) -> None:
        """Close a connection whose last commit is in doubt; the file is opened anew."""
        database, self._database = self._database, None
        if database is not None:
            try:
                await database.close()
            except (sqlite3.Error, ValueError):
                pass

    async def _require_fit(self, stream: Stream) -> None:
        """See that the replica is one of this stream, and not ahead of it."""
        assert self._database is not None
        require_epoch(stream.epoch, self.epoch)
        deadline = time.monotonic() + FIT_WITHIN_S
        while (state := await stream.state()).last_seq < self.head and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(RETRY_S)
        same = True
        if 0 < self.head <= state.last_seq:
            (record,) = await self._database.run(partial(select_page, after=self.head - 1, head=self.head, limit=1))
            payload = await stream.payload_at(self.head)
            same = payload is None or replica.decode(replica.Received(self.head, payload)).salt == record.salt
        require_fit(state, self.head, same)
        self._reached(state.last_seq)

    async def _follow(self, stream: Stream) -> None:
        """Copy and watch, until one of them fails or the connection is lost."""
        async with stream.feed(self.head) as feed:
            tasks = [asyncio.create_task(work) for work in (self._copy(feed), self._watch(stream))]
            tasks.append(asyncio.create_task(_when_lost(stream)))
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

    async def _watch(self, stream: Stream) -> None:
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

    async def _publish(self, token: str, payload: bytes, expected: int) -> int:
        async with self._publishes:
            if self._stream is None:
                raise NotStored(self._trouble)
            position = await self._stream.publish(token, payload, expected)
        self._reached(position)
        return position

    @asynccontextmanager
    async def _in_line(self, command: bytes | None) -> AsyncIterator[None]:
        """Appends under one command go one after the other: the second finds what the first has recorded."""
        if command is None:
            yield
            return
        line = self._commands.setdefault(command, _Line(asyncio.Lock()))
        line.waiting += 1
        try:
            async with line.turn:
                yield
        finally:
            line.waiting -= 1
            if line.waiting == 0:
                del self._commands[command]


class _Append:
    """One append, from its first try to its answer."""

    def __init__(self, log: JetStreamLog, event: NewEvent, expected: int) -> None:
        self._log = log
        self._event = event
        self._expected = expected
        self._salt = os.urandom(SALT_BYTES)
        self._payload = replica.encode(event, time.time_ns() // 1000, self._salt)
        self._began_at = log.head
        self._trouble = ""
        self._in_doubt = False  # a try was sent and not answered

    async def run(self) -> Appended:
        """Try until it is answered. Raises what ``EventLog.append`` raises."""
        try:
            async with asyncio.timeout(APPEND_WITHIN_S):
                async with self._log._in_line(self._event.command):
                    return await self._append()
        except TimeoutError:
            raise self._unanswered(f"no answer in {APPEND_WITHIN_S:.0f} s: {self._trouble}") from None
        except asyncio.CancelledError:
            raise self._unanswered("it is shutting down") from None
        except LogUnavailable as refused:
            # Whoever could not be asked now may have been told before.
            raise self._unanswered(refused.reason) from None

    def _unanswered(self, reason: str) -> LogError:
        return OutcomeUnknown(reason) if self._in_doubt else LogUnavailable(reason)

    async def _append(self) -> Appended:
        known = await self._known_before()
        while True:
            if outcome := self._outcome(known):
                return outcome
            assert known.token is not None
            if own := await self._try(known.token):
                return Appended(own, repeated=False)
            known = await self._judge()

    async def _known_before(self) -> replica.Judgement:
        """What is known before the first try. A new note without a command has nothing that could be known."""
        event = self._event
        if event.note_id is None and event.command is None:
            return replica.Judgement(None, None, 0, replica.token(event, self._salt))
        known, head = await self._judge(), self._log.head
        if event.command is None or known.first is not None:
            return known
        await self._log._catch_up()  # the command may have been used on another node
        return known if self._log.head == head else await self._judge()

    async def _judge(self) -> replica.Judgement:
        query = partial(replica.judge, event=self._event, salt=self._salt, after=self._began_at)
        return await self._log._points.read(query)

    def _outcome(self, known: replica.Judgement) -> Appended | None:
        """What the replica says of the event, if it can say something already."""
        if known.own is not None:
            return Appended(known.own, repeated=False)
        if known.first is not None:
            if known.first.request != self._event.request:
                raise CommandReused(known.first.position)
            return Appended(known.first, repeated=True)
        if known.last != self._expected or known.token is None:
            raise WrongExpectedPosition(self._event.note_id, self._expected, known.last)
        return None

    async def _try(self, token: str) -> RecordedEvent | None:
        """Publish once; our record when that was answered, else None when the replica can tell more."""
        try:
            position = await self._log._publish(token, self._payload, self._expected)
        except Conflict:
            await self._log._catch_up()
        except NotStored as error:
            await self._after(error)
        except NoAnswer as error:
            self._in_doubt = True
            await self._after(error)
        else:
            self._in_doubt, self._trouble = True, f"recorded at {position}, which the replica does not have yet"
            await self._log._head.reach(position)
            (record,) = await self._log.read(position - 1, 1)
            # Another record there: servers that are not synced on every message have lost ours and an election.
            return record if record.salt == self._salt else None
        return None

    async def _after(self, error: Exception) -> None:
        """Wait a little before the next try; with the servers gone for long, give up."""
        self._trouble = str(error)
        if fault := self._log.fault:
            raise self._unanswered(fault)
        await asyncio.sleep(RETRY_S)


class _Line(msgspec.Struct):
    """Those who append under one command."""

    turn: asyncio.Lock
    waiting: int = 0


class _Shared:
    """One question for many: who asks while it is under way gets the answer of the next, which they share."""

    def __init__(self, ask: Callable[[], Awaitable[int]]) -> None:
        self._ask = ask
        self._asked: asyncio.Task[int] | None = None
        self._next: asyncio.Task[int] | None = None

    async def value(self) -> int:
        """The answer to a question that was asked after this call. Cancel: the others still get it."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._asked))
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._next)

    async def _after(self, before: asyncio.Task[int] | None) -> int:
        if before is not None:
            await asyncio.wait([before])
        self._asked, self._next = self._next, None
        return await self._ask()


async def _when_lost(stream: Stream) -> None:
    await stream.lost.wait()
    raise NoAnswer("the connection is lost")
