"""Servers die, stop and come back under load: nothing answered is lost or doubled, and all nodes end equal."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.follower import EventsFollower
from tests.faults.process import until
from tests.nats_servers import NatsServer

from .cluster import GOES_ON_WITHIN_S, STREAM, Cluster, Loads, assert_kept
from .conftest import LONG

pytestmark = pytest.mark.faults

KILLS, PAUSES, OUTAGES = (10, 5, 3) if LONG else (1, 1, 1)
ANSWERS = 40


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Three servers, two nodes."""
    async with Cluster(tmp_path, nodes=2) as cluster:
        yield cluster


async def leader(cluster: Cluster) -> NatsServer:
    """The server that leads the stream at the moment."""
    found: list[NatsServer] = []

    async def is_known() -> bool:
        server = await asyncio.to_thread(cluster.servers.leader_of, STREAM)
        found[:] = [server] if server else []
        return bool(server)

    await until(is_known, GOES_ON_WITHIN_S, "the stream has a leader")
    return found[0]


async def back(server: NatsServer) -> None:
    """Start a server again, and wait until it is healthy: what it missed is there."""
    server.start()

    async def is_healthy() -> bool:
        return await asyncio.to_thread(server.is_healthy)

    await until(is_healthy, GOES_ON_WITHIN_S, "the server is back")


async def test_the_leader_dies_under_load(cluster: Cluster, seed: int) -> None:
    """The leader is killed again and again while clients write at both nodes: writes wait, and go on by themselves."""
    async with EventsFollower(cluster.nodes[1]) as follower:
        async with Loads(cluster, seed) as loads:
            for _ in range(KILLS):
                await loads.answered(ANSWERS)
                await cluster.whole()
                server = await leader(cluster)
                server.kill()
                await loads.answered(ANSWERS)
                await back(server)
        await assert_kept(cluster, loads, follower)


async def test_the_leader_stops_for_a_while(cluster: Cluster, seed: int) -> None:
    """The leader stands still, as a machine does that swaps or is moved; then it wakes up and thinks that it leads."""
    async with Loads(cluster, seed) as loads:
        for _ in range(PAUSES):
            await loads.answered(ANSWERS)
            await cluster.whole()
            server = await leader(cluster)
            server.pause()
            await loads.answered(ANSWERS)
            server.resume()
            await loads.answered(ANSWERS)
    await assert_kept(cluster, loads)


async def test_all_servers_die_at_once(cluster: Cluster, seed: int) -> None:
    """All three are killed under load: reads go on, /readyz says what is wrong, and when they are back so is all."""
    async with EventsFollower(cluster.nodes[0]) as follower:
        async with Loads(cluster, seed) as loads:
            for _ in range(OUTAGES):
                await loads.answered(ANSWERS)
                cluster.servers.kill()
                for node in cluster.nodes:
                    await until(lambda node=node: says_so(node), GOES_ON_WITHIN_S, "/readyz says that it is not ready")
                    assert (await node.read("/notes?limit=3"))[0] == 200
                cluster.servers.start()
                await cluster.servers.ready()
                await loads.answered(ANSWERS)
        await assert_kept(cluster, loads, follower)


async def test_two_of_three_die(cluster: Cluster, seed: int) -> None:
    """With one server left writes are refused or unknown, reads go on; with two again writes go on."""
    dice = random.Random(seed)
    async with Loads(cluster, seed) as loads:
        await loads.answered(ANSWERS)
        gone = dice.sample(cluster.servers.servers, 2)
        for server in gone:
            server.kill()
        for node in cluster.nodes:
            await until(lambda node=node: says_so(node), GOES_ON_WITHIN_S, "/readyz says that it is not ready")
            assert (await node.read("/notes?limit=3"))[0] == 200
            async with node.session.post(node.url + "/notes", json={"title": "refused"}) as answer:
                assert (answer.status, "Retry-After" in answer.headers) == (503, True)
        await back(gone[0])
        await loads.answered(ANSWERS)
    await assert_kept(cluster, loads)


async def says_so(node: object) -> bool:
    """Whether /readyz answers 503 because of the log, with words."""
    status, report = await node.read("/readyz")  # type: ignore[attr-defined]
    return status == 503 and bool(report["log"]["error"])
