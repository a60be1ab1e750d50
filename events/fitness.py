"""Whether a replica and a stream belong together: nothing may have been lost, on either side.

What does not fit is told and not mended: somebody must look at what was lost, and guessing would hide it.
"""

import asyncio
import sqlite3
import time
from functools import partial
from pathlib import Path

from events import replica
from events.database import Database
from events.errors import BrokenLog
from events.jetstream import Stream
from events.store import select_page

# A server that has just become the leader, or has just been started, may know less for a moment than in the end.
FIT_WITHIN_S = 10.0
LOOK_AGAIN_S = 0.2


async def require_fit(stream: Stream, database: Database, epoch: str, head: int) -> int:
    """See that a replica is one of the stream, and not ahead of it; returns the stream's last position.

    Raises ``BrokenLog``, ``NoAnswer``.
    """
    if stream.identity.epoch != epoch:
        found = stream.identity.epoch
        raise BrokenLog(f"the replica belongs to another stream: expected epoch {found}, got {epoch}")
    deadline = time.monotonic() + FIT_WITHIN_S
    while (state := await stream.state()).last_seq < head and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_AGAIN_S)
    if state.first_seq > 1 and state.messages:
        raise BrokenLog(f"the stream begins at {state.first_seq}: its first events are gone")
    if state.last_seq < head:
        raise BrokenLog(f"the replica has {head} events, the stream only {state.last_seq}: the stream lost events")
    if head and not await _is_the_same(stream, database, head):
        raise BrokenLog(f"event {head} is another one in the stream than in the replica")
    return state.last_seq


async def _is_the_same(stream: Stream, database: Database, position: int) -> bool:
    """Whether an event of the replica is that of the stream; one that the server cannot give says nothing."""
    (record,) = await database.run(partial(select_page, after=position - 1, head=position, limit=1))
    payload = await stream.payload_at(position)
    return payload is None or replica.decode(replica.Received(position, payload)).salt == record.salt


def is_there(path: Path) -> bool:
    """Whether there is a log at the path; the file of a start that was killed is empty."""
    if not path.exists():
        return False
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
        finally:
            connection.close()
    except sqlite3.Error:
        return True  # opening it will tell what is wrong
