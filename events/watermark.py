"""A position that only rises, and can be waited for: the head of a log, the checkpoint of a projection."""

import asyncio
import heapq
from itertools import count


class Watermark:
    """A number that only rises. Waiting costs one future each, whatever the rate at which it rises.

    Not for use from other threads. No wake-up is lost: a waiter looks at the value before it waits, and nothing
    can come between, because both happen in one step of the event loop.
    """

    def __init__(self, value: int = 0) -> None:
        self.value = value
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._cancelled = 0  # of the waiters
        self._order = count()
        self._fault: Exception | None = None
        self._wanted = asyncio.Event()

    def raise_to(self, value: int) -> None:
        """Rise, and wake everybody who waits for this value or a lower one. A lower value changes nothing."""
        self.value = max(self.value, value)
        while self._waiters and self._waiters[0][0] <= self.value:
            waiter = heapq.heappop(self._waiters)[2]
            self._cancelled -= waiter.done()
            _wake(waiter, None)

    def stop(self, fault: Exception) -> None:
        """It will not rise any more: everybody who waits, now or later, gets the fault."""
        self._fault = fault
        for _, _, waiter in self._waiters:
            _wake(waiter, fault)
        self._waiters.clear()
        self._cancelled = 0

    @property
    def stopped(self) -> bool:
        """Whether it will not rise any more."""
        return self._fault is not None

    def resume(self) -> None:
        """It rises again after a ``stop``."""
        self._fault = None

    async def reach(self, value: int) -> None:
        """Return when the watermark is at ``value`` or above; the fault is raised if it stopped below.

        Cancelling the caller forgets its wait and touches nobody else's.
        """
        if self.value >= value:
            return
        if self._fault is not None:
            # Without the traces of those who got it before, which would gather and hold their frames.
            raise self._fault.with_traceback(None)
        waiter = asyncio.get_running_loop().create_future()
        self._wanted.set()
        heapq.heappush(self._waiters, (value, next(self._order), waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._forget_one()
            raise

    async def wanted(self) -> None:
        """Return when somebody waits for more than there is. For whoever raises it and would rather do so in bulk."""
        self._wanted.clear()
        if not self._waiters:
            await self._wanted.wait()

    def _forget_one(self) -> None:
        """Drop cancelled waiters when they are the half, so that they do not gather while nothing rises."""
        self._cancelled += 1
        if self._cancelled * 2 > len(self._waiters):
            self._waiters = [entry for entry in self._waiters if not entry[2].done()]
            heapq.heapify(self._waiters)
            self._cancelled = 0


def _wake(waiter: asyncio.Future[None], fault: Exception | None) -> None:
    if waiter.done():
        return
    if fault is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(fault)
