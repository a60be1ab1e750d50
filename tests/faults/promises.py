"""The one question every fault test ends with: is everything that was answered still true?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from .checker import Event, broken_promises, differences, read_events
from .follower import Follower
from .load import Load, read_notes
from .process import Server

SHOWN_MAX = 20  # broken promises that a failure prints: the first ones tell the cause
REPLAYED = 20  # answered requests that are sent again under their keys


async def assert_promises_kept(
    server: Server, load: Load, *followers: Follower, past: Sequence[Event] = ()
) -> list[Event]:
    """With the load ended and the service ready: settle what is unknown, then compare everything with the log.

    `past`: the events that were there before the load.
    """
    settled = await load.settle()
    before = read_events(server.data)
    unlike = await load.replay(REPLAYED)
    events = read_events(server.data)
    for follower in followers:
        await follower.reaches(len(events))
    print(
        f"{len(events)} events; answers {dict(Counter(request.verdict.value for request in load.requests))}, "
        f"{settled} settled by a repeat; process started {server.starts} times, ready after "
        f"{median(server.ready_after_s):.2f} s, {max(server.ready_after_s):.2f} s at the longest"
    )
    assert_none(
        [
            *load.oddities,
            *broken_promises(load.requests, events, past),
            *unlike,
            *([] if events == before else [f"repeats appended {len(events) - len(before)} events"]),
            *differences(events, await read_notes(server)),
            *(broken for follower in followers for broken in follower.broken_promises(events)),
        ]
    )
    return events


def assert_none(broken: list[str]) -> None:
    """Fail with the first of these broken promises."""
    assert not broken, f"{len(broken)} broken promises:\n" + "\n".join(broken[:SHOWN_MAX])
