"""The one way to follow a log: note the head, read a page after my position, if it is empty wait for the head."""

from collections.abc import AsyncIterator

from events.log import PAGE_EVENTS_MAX, EventLog
from events.record import RecordedEvent


async def follow(log: EventLog, after: int, limit: int = PAGE_EVENTS_MAX) -> AsyncIterator[list[RecordedEvent]]:
    """The events after a position in pages, for ever: first those that are there, then each as it comes.

    No hole, no repeat: whoever follows owns one integer and no queue, so being slow costs nobody anything.
    Cancel: at any moment; begin again from the last position that was dealt with.
    """
    while True:
        page = await log.read(after, limit)
        if page:
            assert page[0].position == after + 1, f"expected position {after + 1}, got {page[0].position}"
            yield page
            after = page[-1].position
        else:
            await log.wait_past(after)
