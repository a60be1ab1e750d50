"""Follow the log, apply a page and its checkpoint in one transaction, announce it; for ever."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from enum import StrEnum
from functools import partial
from typing import Generic, Protocol, TypeVar

from events.database import Database, in_transaction
from events.errors import EventError
from events.log import PAGE_EVENTS_MAX, EventLog
from events.record import RecordedEvent, found_hash, leaf_hash
from events.subscription import follow
from events.watermark import Watermark
from projections.projection import Change, Projection, ProjectionStopped
from projections.tables import (
    Checkpoint,
    CheckpointMoved,
    advance_checkpoint,
    insert_checkpoint,
    is_damage,
    select_checkpoint,
)

T = TypeVar("T")

# After a passing fault (a full disk, a locked file): first try again at once, then ever more slowly.
RETRY_FIRST_S = 0.05
RETRY_MAX_S = 5.0
RETRY_READ_S = 0.5


class State(StrEnum):
    """What a runner is doing."""

    STARTING = "starting"
    CATCHING_UP = "catching_up"
    RUNNING = "running"
    RETRYING = "retrying"
    STOPPED = "stopped"


class Written(Protocol):
    """An open file with tables."""

    @property
    def writer(self) -> Database:
        """The one connection that writes."""


class Runner(Generic[Change]):
    """Keeps one projection up with the log. ``checkpoint`` rises after each page is committed.

    ``announce`` is called in the event loop with what each page changed, before ``checkpoint`` rises.
    ``linger_s``: how long events may gather before they are applied, unless somebody waits; 0: not at all.
    ``page_events``: how many are applied in one transaction.
    ``condemn`` is called when the tables' file is found to be damaged, and has it built anew at the next start.
    """

    def __init__(
        self,
        log: EventLog,
        projection: Projection[Change],
        tables: Written,
        announce: Callable[[list[Change]], None] = lambda changes: None,
        *,
        linger_s: float = 0.0,
        page_events: int = PAGE_EVENTS_MAX,
        condemn: Callable[[], None] | None = None,
    ) -> None:
        self.name = projection.name
        self.checkpoint = Watermark()
        self.state = State.STARTING
        self.error: str | None = None
        self._log = log
        self._projection = projection
        self._writer = tables.writer
        self._announce = announce
        self._linger_s = linger_s
        self._page_events = page_events
        self._condemn = condemn
        self._begun = asyncio.Event()

    @property
    def lag(self) -> int:
        """How many events of the log are not in the tables yet."""
        return self._log.head - self.checkpoint.value

    async def begun(self) -> None:
        """Return when ``checkpoint`` says where the tables are, or when the projection has stopped."""
        await self._begun.wait()

    async def run(self) -> None:
        """Follow the log until cancelled, or until an event cannot be applied: then stop, with the reason.

        Cancel: at any moment; a page that is being committed is committed or not, the next start goes on from there.
        """
        try:
            await self._patiently(self._begin)
            self._begun.set()
            await self._catch_up()
            async for page in self._pages():
                await self._advance(page)
                await self._linger()
        except (EventError, CheckpointMoved) as error:
            self.stop(str(error))
        except sqlite3.Error as error:
            self.stop(f"{error}: {self._advice(error)}")
        except Exception as error:
            self.stop(f"{type(error).__name__}: {error}")
            raise

    def stop(self, reason: str) -> None:
        """Stand still: whoever waits for the checkpoint gets ``ProjectionStopped``."""
        self.state, self.error = State.STOPPED, reason
        self.checkpoint.stop(ProjectionStopped(self.name, reason))
        self._begun.set()

    def _advice(self, error: sqlite3.Error) -> str:
        if self._condemn is None or not is_damage(error):
            return "this does not pass by itself"
        self._condemn()
        return "the file is damaged; start again, and it is built anew from the log"

    async def _begin(self) -> None:
        """Go on where the tables are, or build them anew when they do not fit the log."""
        found = await self._writer.run(partial(select_checkpoint, name=self.name))
        if found is None or not await self._fits(found):
            found = Checkpoint(self.name, self._projection.version, self._log.epoch, 0, b"")
            await self._writer.run(partial(_start_anew, projection=self._projection, checkpoint=found))
        self.checkpoint.raise_to(found.position)

    async def _fits(self, found: Checkpoint) -> bool:
        if (found.version, found.epoch) != (self._projection.version, self._log.epoch):
            return False
        if found.position == 0 or found.position > self._log.head:
            return found.position == 0
        (record,) = await self._log.read(found.position - 1, limit=1)
        return found_hash(record) == found.hash

    async def _catch_up(self) -> None:
        """Apply everything up to the head of now, then make the indexes, then count as running."""
        self.state, head = State.CATCHING_UP, self._log.head
        while (after := self.checkpoint.value) < head:
            await self._advance(await self._patiently(partial(self._log.read, after, self._page_events)))
        await self._patiently(partial(self._writer.run, partial(in_transaction, work=self._projection.index)))
        self.state = State.RUNNING

    async def _pages(self) -> AsyncIterator[list[RecordedEvent]]:
        """What comes after the checkpoint, for ever, through faults of the log that pass."""
        while True:
            try:
                async for page in follow(self._log, self.checkpoint.value, self._page_events):
                    if self.error is not None:
                        self.state, self.error = State.RUNNING, None
                    yield page
            except sqlite3.OperationalError as error:
                self.state, self.error = State.RETRYING, str(error)
                await asyncio.sleep(RETRY_READ_S)

    async def _linger(self) -> None:
        """Let events gather, because a large page costs less for each; but not while somebody waits for them.

        Nor while a whole page waits: or else a busy log would leave it ever further behind.
        """
        if self._linger_s and self.lag < self._page_events:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._linger_s):
                    await self.checkpoint.wanted()

    async def _advance(self, page: list[RecordedEvent]) -> None:
        """Apply a page; when one of its events cannot be applied, all before it, and then give up."""
        try:
            await self._apply(page)
        except EventError as error:
            good = [record for record in page if record.position < getattr(error, "position", 0)]
            if good:
                await self._apply(good)
            raise

    async def _apply(self, page: list[RecordedEvent]) -> None:
        await self._patiently(partial(self._apply_once, page))

    async def _apply_once(self, page: list[RecordedEvent]) -> None:
        last = page[-1]
        checkpoint = Checkpoint(self.name, self._projection.version, self._log.epoch, last.position, leaf_hash(last))
        work = partial(_apply_page, projection=self._projection, page=page, old=self.checkpoint.value, new=checkpoint)
        changes = await self._writer.run(work)
        self._announce(changes)
        self.checkpoint.raise_to(last.position)

    async def _patiently(self, step: Callable[[], Awaitable[T]]) -> T:
        """Do a step, again and again through faults that pass."""
        state, pause_s = self.state, 0.0
        while True:
            try:
                result = await step()
            except sqlite3.OperationalError as error:
                self.state, self.error = State.RETRYING, str(error)
                pause_s = min(RETRY_MAX_S, max(RETRY_FIRST_S, 2 * pause_s))
                await asyncio.sleep(pause_s)
            else:
                if self.error is not None:
                    self.state, self.error = state, None
                return result


def _start_anew(connection: sqlite3.Connection, projection: Projection[Change], checkpoint: Checkpoint) -> None:
    def work(connection: sqlite3.Connection) -> None:
        for table in projection.tables:
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        projection.create(connection)
        insert_checkpoint(connection, checkpoint)

    in_transaction(connection, work)


def _apply_page(
    connection: sqlite3.Connection,
    projection: Projection[Change],
    page: list[RecordedEvent],
    old: int,
    new: Checkpoint,
) -> list[Change]:
    def work(connection: sqlite3.Connection) -> list[Change]:
        changes = projection.apply(connection, page)
        advance_checkpoint(connection, old, new)
        return changes

    return in_transaction(connection, work)
