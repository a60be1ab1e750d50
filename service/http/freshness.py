"""Read your writes: a read waits until the tables show what this process knew when the read arrived."""

import asyncio

from events.log import EventLog
from events.watermark import Watermark
from service.errors import TooFarBehind

# How long a read waits for the tables. Usually they are there at once; longer than this is a fault to be told.
WAIT_S = 5.0


class Freshness:
    """How fresh the notes table is, and waiting for it to be fresh enough."""

    def __init__(self, log: EventLog, checkpoint: Watermark) -> None:
        self._log = log
        self._checkpoint = checkpoint

    @property
    def checkpoint(self) -> int:
        """The position up to which the notes table shows the log."""
        return self._checkpoint.value

    def at_head(self, min_position: int = 0) -> bool:
        """Whether ``reach_head`` would return at once. To ask costs less than to wait for nothing."""
        return self._checkpoint.value >= self._log.head and self._checkpoint.value >= min_position

    async def reach(self, position: int) -> None:
        """Return when the notes table shows ``position``.

        Raises ``TooFarBehind`` after ``WAIT_S`` seconds, ``ProjectionStopped`` at once if it will never. Cancel: safe.
        """
        if self._checkpoint.value >= position:
            return
        try:
            async with asyncio.timeout(WAIT_S):
                await self._checkpoint.reach(position)
        except TimeoutError:
            raise TooFarBehind(position, self._checkpoint.value) from None

    async def reach_head(self, min_position: int = 0) -> None:
        """Return when the table shows everything up to the head of now, and ``min_position`` if that is later."""
        await self.reach(max(self._log.head, min_position))

    async def reach_log(self, min_position: int) -> None:
        """Return when the log itself has ``min_position``. Raises ``TooFarBehind`` after ``WAIT_S`` seconds."""
        if self._log.head >= min_position:
            return
        try:
            async with asyncio.timeout(WAIT_S):
                await self._log.wait_past(min_position - 1)
        except TimeoutError:
            raise TooFarBehind(min_position, self._log.head) from None
