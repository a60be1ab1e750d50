"""One client at several nodes of a cluster: what it has done at one, it finds at every other."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.client import Client
from tests.client.cutter import Cutter
from tests.nats_servers import NatsServers
from tests.service.running import WITHIN_S, Running


@pytest.fixture
async def nodes(
    tmp_path: Path, one_server: NatsServers, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Running]]:
    """Two nodes on one stream."""
    nodes = [Running(tmp_path / name, monkeypatch) for name in ("a", "b")]
    for node in nodes:
        await node.start(log=one_server.url, nats_stream="client", nats_replicas=1)
    yield nodes
    for node in nodes:
        await node.stop()


async def test_a_client_that_moves_between_nodes(nodes: list[Running]) -> None:
    """At another node each time: reads show what was written, a lost answer is no second note, a feed goes on."""
    turn = 0

    def target() -> str:
        nonlocal turn
        turn += 1
        return nodes[turn % 2].url

    async with Cutter(target) as cutter, Client(cutter.url) as client:
        feed = client.events(after=0)
        for number in range(10):
            cutter.lose_answers = number % 2
            note = await client.create(f"note {number}")
            cutter.cut()
            assert (await client.get(note.id)).title == f"note {number}"
            cutter.cut()
            assert (await asyncio.wait_for(anext(feed), WITHIN_S)).position == note.position == number + 1
        assert len([note async for note in client.list()]) == 10
