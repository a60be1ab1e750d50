"""The ledger of a cluster: whichever node is asked, the tree and its signature are the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from projections.signed_note import make_key
from service.checkpoint_checker import open_note, parse_checkpoint, parse_key
from tests.faults.process import Server, until

from .cluster import GOES_ON_WITHIN_S, Cluster

pytestmark = pytest.mark.faults

NOTES = 40


async def test_every_node_signs_the_same_root(tmp_path: Path) -> None:
    """With the same key, nodes that were written to in turn publish the same checkpoint to the byte, and the tiles."""
    make_key(tmp_path / "key.pem")
    async with Cluster(tmp_path, nodes=2) as cluster:
        for node in cluster.nodes:
            assert (await fetch(node, "/tlog/checkpoint"))[0] == 404, "without a key nothing is signed"
            assert await node.stop() == 0
            await node.start(environment={"NOTELOG_LEDGER_KEY": str(tmp_path / "key.pem")})
        await asyncio.gather(*(write(cluster.nodes[number % 2], number) for number in range(NOTES)))
        assert await cluster.equal() == NOTES
        for node in cluster.nodes:
            await until(lambda node=node: covers(node, NOTES), GOES_ON_WITHIN_S, "all events are signed")
        for path in (
            "/tlog/key",
            "/tlog/checkpoint",
            f"/tlog/tile/0/000.p/{NOTES}",
            f"/tlog/tile/entries/000.p/{NOTES}",
        ):
            here, there = [await fetch(node, path) for node in cluster.nodes]
            assert here == there, path
            assert here[0] == 200


async def fetch(node: Server, path: str) -> tuple[int, bytes]:
    """What a node answers."""
    async with node.session.get(node.url + path) as answer:
        return answer.status, await answer.read() if answer.status == 200 else b""


async def write(node: Server, number: int) -> None:
    """One new note."""
    async with node.session.post(node.url + "/notes", json={"title": f"number {number}"}) as made:
        assert made.status == 201, await made.text()


async def covers(node: Server, size: int) -> bool:
    """Whether a checkpoint of so many events is signed, by the node's own key."""
    (status, note), (_, key) = await fetch(node, "/tlog/checkpoint"), await fetch(node, "/tlog/key")
    return status == 200 and parse_checkpoint(open_note(note.decode(), parse_key(key.decode()))).size == size
