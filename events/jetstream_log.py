"""The distributed engine: one stream in NATS JetStream, and on each node a replica of it in ``events.db``.

The problem: any node must take any command, and every node must show the same log. The way taken: the stream gives the
order; one task of each node, the follower, copies it into the replica, and everything that reads stays the code of the
embedded log. Only an append talks to the servers: it publishes with a guard, and returns when the replica holds the
position, so that a writer reads its own writes here.

A publish that was not answered may have been stored or not. It is sent again, the same bytes with the same guard,
until an answer comes or time is up: the guard lets at most one of them in, and the salt tells our own record from
another's.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from events import replica
from events.batch import SALT_BYTES
from events.errors import CommandReused, LogBusy, LogError, LogUnavailable, OutcomeUnknown, WrongExpectedPosition
from events.log import Appended
from events.nats_settings import NatsSettings
from events.record import NewEvent, RecordedEvent
from events.replica_store import RETRY_S, ReplicaStore
from events.stream_answers import Conflict, Duplicate, NoAnswer, NotStored

# An append is tried for this long: the death of a leader takes 5 to 8 s, and a client waits for 20 to 30.
APPEND_WITHIN_S = 15.0
# What may be under way at once; whoever comes then is told to come back.
APPENDS_MAX = 10_000
APPENDING_BYTES_MAX = 64 * 1024 * 1024
# Publishes that the servers have at once; more would only wait there.
PUBLISHES_MAX = 256
CLOSE_WITHIN_S = 4.0


class JetStreamLog(ReplicaStore):
    """The log in a stream, and this node's replica of it."""

    def __init__(self, path: Path, settings: NatsSettings) -> None:
        super().__init__(path, settings)
        self._appends: set[asyncio.Task[Appended]] = set()
        self._appending_bytes = 0
        self._publishes = asyncio.Semaphore(PUBLISHES_MAX)
        self._commands: dict[bytes, _Line] = {}

    @classmethod
    async def open(cls, path: Path, settings: NatsSettings) -> "JetStreamLog":
        """Open the replica, making it and the stream if there are none; it catches up in the background.

        Without a server that answers a replica which is there is opened for reading, and a new one is not made.
        Raises ``FolderError``, ``ClusterError``.
        """
        log = cls(path, settings)
        await log._begin()
        return log

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

    def _appended(self, size_bytes: int, append: asyncio.Task[Appended]) -> None:
        self._appends.discard(append)
        self._appending_bytes -= size_bytes
        if not append.cancelled():
            append.exception()  # taken here too, for callers who were cancelled

    @asynccontextmanager
    async def _in_line(self, command: bytes) -> AsyncIterator[None]:
        """Appends under one command go one after the other: the second finds what the first has recorded."""
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
        self._id = event.command.hex() if event.command else None

    async def run(self) -> Appended:
        """Try until it is answered. Raises what ``EventLog.append`` raises."""
        try:
            async with asyncio.timeout(APPEND_WITHIN_S):
                if self._event.command is None:
                    return await self._append()
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
            position = await self._publish(token)
        except Conflict as conflict:
            await self._log._catch_up()
            if isinstance(conflict, Duplicate):
                self._id = None  # the log tells whether that is so; if not, the server must not stand in the way
        except (NotStored, NoAnswer) as error:
            await self._after(error)
        else:
            self._trouble = f"recorded at {position}, which the replica does not have yet"
            await self._log._head.reach(position)
            (record,) = await self._log.read(position - 1, 1)
            # Another record there: servers that are not synced on every message have lost ours and an election.
            return record if record.salt == self._salt else None
        return None

    async def _publish(self, token: str) -> int:
        """Send it once. Whoever is cancelled in here, or not answered, is in doubt; who is refused is not."""
        doubted = self._in_doubt
        async with self._log._publishes:
            stream = self._log._stream
            if stream is None:
                raise NotStored(self._log._trouble)
            self._in_doubt = True
            try:
                position = await stream.publish(token, self._payload, self._expected, self._id)
            except (Conflict, NotStored):
                self._in_doubt = doubted
                raise
            except ValueError as too_large:
                self._in_doubt = doubted
                raise LogUnavailable(str(too_large)) from None
        self._log._reached(position)
        return position

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
