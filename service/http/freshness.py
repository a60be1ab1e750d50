"""Read your writes: a read waits until the tables show what this process knew when the read arrived.

Who asks for one note waits for the last event of that note only: most have not changed for long, and the tables can
gather what is new instead of being called for each.
"""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from events.log import EventLog
from events.watermark import Watermark
from service.errors import TooFarBehind

T = TypeVar("T")

# How long a read waits for the tables. Usually they are there at once; longer than this is a fault to be told.
WAIT_S = 5.0
# When the service stops, that is told sooner, while there is still a connection to tell it on: it has 3.8 s (see
# ``server.SHUTDOWN_S``), and a read may wait for two tables, one after the other.
STOPPING_WAIT_S = 1.5
# What the tables may gather at full load. If there is more, they fall behind; then whoever asks for any note waits, so
# that changes of notes cannot outrun the tables for long.
GATHERED_EVENTS_MAX = 250


class Patience:
    """How long requests wait for what has not come yet: ``WAIT_S``, and less when the service stops."""

    def __init__(self) -> None:
        self._stopping = False
        self._waits: set[asyncio.Timeout] = set()

    def hurry(self) -> None:
        """The service stops: who waits, now or later, waits ``STOPPING_WAIT_S`` more at the most."""
        self._stopping = True
        latest = asyncio.get_running_loop().time() + STOPPING_WAIT_S
        for wait in self._waits:
            if not wait.expired() and latest < (wait.when() or 0.0):
                wait.reschedule(latest)

    async def in_time(self, coming: Coroutine[None, None, T]) -> T:
        """What is waited for. Raises ``TimeoutError`` when it does not come in time. Cancel: as what is waited for."""
        async with asyncio.timeout(STOPPING_WAIT_S if self._stopping else WAIT_S) as wait:
            self._waits.add(wait)
            try:
                return await coming
            finally:
                self._waits.discard(wait)


class Freshness:
    """How fresh a table is, and waiting for it to be fresh enough."""

    def __init__(self, log: EventLog, checkpoint: Watermark, patience: Patience) -> None:
        self._log = log
        self._checkpoint = checkpoint
        self._patience = patience

    @property
    def checkpoint(self) -> int:
        """The position up to which the notes table shows the log."""
        return self._checkpoint.value

    def needed_for(self, note_id: int, min_position: int = 0) -> int:
        """What the table must show so that the note in it is the note as of the head of now, and ``min_position``.

        Where that is not past ``checkpoint``, it is so already: to ask costs less than to wait for nothing.
        """
        head, shown = self._log.head, self._checkpoint.value
        gathering = head - shown <= GATHERED_EVENTS_MAX and not self._checkpoint.stopped
        return max(self._log.last_of(note_id, shown) if gathering else head, min_position)

    async def reach(self, position: int) -> None:
        """Return when the notes table shows ``position``.

        Raises ``TooFarBehind`` when that takes too long, ``ProjectionStopped`` at once if it will never. Cancel: safe.
        """
        if self._checkpoint.value >= position:
            return
        try:
            await self._patience.in_time(self._checkpoint.reach(position))
        except TimeoutError:
            raise TooFarBehind(position, self._checkpoint.value) from None

    async def reach_head(self, min_position: int = 0) -> None:
        """Return when the table shows everything up to the head of now, and ``min_position`` if that is later."""
        await self.reach(max(self._log.head, min_position))

    async def reach_log(self, min_position: int) -> None:
        """Return when the log itself has ``min_position``. Raises ``TooFarBehind`` when that takes too long."""
        if self._log.head >= min_position:
            return
        try:
            await self._patience.in_time(self._log.wait_past(min_position - 1))
        except TimeoutError:
            raise TooFarBehind(min_position, self._log.head) from None
