"""Three NATS servers and some nodes of notelog, all real processes on loopback."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from collections import Counter
from contextlib import AsyncExitStack, closing
from pathlib import Path
from types import TracebackType

from tests.faults.checker import Event, broken_promises, differences, read_events
from tests.faults.follower import Follower
from tests.faults.load import Load, read_notes
from tests.faults.process import NotInTime, Server, until
from tests.faults.promises import assert_none
from tests.nats_servers import NatsServers, Place

# Nothing here takes longer unless it hangs: a leader's death takes 5 to 8 s, the return of all three less.
GOES_ON_WITHIN_S = 60.0
REPLAYED = 10
STREAM = "notelog"


class Cluster:
    """Leaving the `async with` block ends all processes."""

    def __init__(self, folder: Path, nodes: int, places: list[Place] | None = None) -> None:
        self.folder = folder
        self.servers = NatsServers(folder, 3, places)
        self.nodes = [self.node(f"node-{number}") for number in range(nodes)]
        self._stack = AsyncExitStack()

    def node(self, name: str) -> Server:
        """One more node, not started."""
        return Server(self.folder / name, "--log", self.servers.url)

    async def __aenter__(self) -> Cluster:
        self._stack.callback(self.servers.kill)
        self.servers.start()
        try:
            await self.servers.ready()
            for node in self.nodes:
                await self._stack.enter_async_context(node)
                await node.start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def all_ready(self) -> None:
        """Wait until every node says that it is."""
        for node in self.nodes:
            try:
                await until(node.is_ready, GOES_ON_WITHIN_S, f"{node.data.name} is ready")
            except NotInTime:
                print(node.data.name, await node.read("/readyz"), node.last_lines())
                raise

    async def whole(self) -> None:
        """Wait until all servers take part and miss nothing: what breaks next is then the only thing that is broken."""

        async def is_whole() -> bool:
            return await asyncio.to_thread(self.servers.is_whole, STREAM)

        await until(is_whole, GOES_ON_WITHIN_S, "all servers take part")

    async def equal(self) -> int:
        """Wait until all nodes have the same head; how many events that are."""
        heads: set[int] = set()

        async def are_equal() -> bool:
            heads.clear()
            heads.update([(await node.read("/readyz"))[1]["head"] for node in self.nodes])
            return len(heads) == 1

        await until(are_equal, GOES_ON_WITHIN_S, "all nodes have the same head")
        return heads.pop()


class Loads:
    """Clients at every node. `pause_s`: the longest time in which no write was answered, measured by a watch."""

    def __init__(self, cluster: Cluster, seed: int, clients: int = 4) -> None:
        self.each = [Load(node, seed + number, clients) for number, node in enumerate(cluster.nodes)]
        self.pause_s = 0.0

    async def __aenter__(self) -> Loads:
        for load in self.each:
            await load.__aenter__()
        self._watch = asyncio.create_task(self._measure())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.cancel()
        for load in self.each:
            await load.__aexit__(kind, error, trace)

    async def answered(self, more: int) -> None:
        """Wait until each node's clients were answered that many more times."""
        await asyncio.gather(*(load.answered(more, GOES_ON_WITHIN_S) for load in self.each))

    async def _measure(self) -> None:
        since, ok = time.monotonic(), 0
        while True:
            now, total = time.monotonic(), sum(load.ok for load in self.each)
            self.pause_s = max(self.pause_s, now - since)
            if total > ok:
                since, ok = now, total
            await asyncio.sleep(0.05)


async def assert_kept(cluster: Cluster, loads: Loads, *followers: Follower) -> list[Event]:
    """With the load ended: settle what is unknown, repeat what was answered at *another* node, compare everything."""
    await cluster.all_ready()
    settled = sum([await load.settle(GOES_ON_WITHIN_S) for load in loads.each])
    before = await cluster.equal()
    unlike = [why for load in loads.each for why in await repeated_elsewhere(cluster, load)]
    head = await cluster.equal()
    logs = [read_events(node.data) for node in cluster.nodes]
    for follower in followers:
        await follower.reaches(head)
    requests = [request for load in loads.each for request in load.requests]
    verdicts = dict(Counter(request.verdict.value for request in requests))
    print(f"{head} events; answers {verdicts}; {settled} settled by a repeat; longest pause {loads.pause_s:.1f} s")
    assert_none(
        [
            *(odd for load in loads.each for odd in load.oddities),
            *broken_promises(requests, logs[0]),
            *unlike,
            *([] if head == before else [f"repeats appended {head - before} events"]),
            *(broken for follower in followers for broken in follower.broken_promises(logs[0])),
        ]
    )
    assert len({digest(node.data) for node in cluster.nodes}) == 1, "the logs of the nodes differ"
    for node in cluster.nodes:
        assert_none(differences(logs[0], await read_notes(node)))
    return logs[0]


async def repeated_elsewhere(cluster: Cluster, load: Load) -> list[str]:
    """Send answered requests again under their keys, to another node than the one that answered them."""
    own = cluster.nodes.index(load._server)
    load._server = cluster.nodes[(own + 1) % len(cluster.nodes)]
    return await load.replay(REPLAYED)


def digest(data: Path) -> str:
    """A hash over every column of every record of a folder's log."""
    whole = hashlib.sha256()
    with closing(sqlite3.connect(f"file:{data / 'events.db'}?mode=ro", uri=True)) as log:
        for row in log.execute("SELECT * FROM events ORDER BY position"):
            whole.update(repr(row).encode())
    return whole.hexdigest()
