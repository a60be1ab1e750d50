"""One question whose answer many wait for."""

import asyncio
from collections.abc import Awaitable, Callable


class Shared:
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
