"""Somebody who writes beside what is tested."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.service.running import Running


@asynccontextmanager
async def writing(notelog: Running) -> AsyncIterator[None]:
    """A client that creates, edits and deletes notes for as long as the context is open; what it meets is raised."""
    goes_on = True

    async def write() -> None:
        number = 0
        while goes_on:
            number += 1
            note = await notelog.note(f"number {number}")
            await notelog.patch(f"/notes/{note['id']}", {"priority": number})
            if number % 3 == 0:
                await notelog.delete(f"/notes/{note['id']}")

    task = asyncio.create_task(write())
    try:
        yield
    finally:
        goes_on = False
        await task
