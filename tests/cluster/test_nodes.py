"""Nodes beside each other: equal, whoever takes the command; new ones, lagging ones, and those that do not fit."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import pytest

from events.stream_configuration import configuration
from projections.signed_note import make_key
from tests.faults.checker import read_events
from tests.faults.process import Server, ServerEnded, until
from tests.nats_servers import Ports

from .cluster import GOES_ON_WITHIN_S, STREAM, Cluster, digest

pytestmark = pytest.mark.faults

NOTES, WRITERS, CHANGES = 8, 16, 6
WINDOW_S = 1
ROUNDS = 10


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Three servers, two nodes."""
    async with Cluster(tmp_path, nodes=2) as cluster:
        yield cluster


async def send(node: Server, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any, Any]:
    """A request: status, JSON body, headers."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with node.session.request(method, node.url + path, json=body, headers=names) as answer:
        return answer.status, await answer.json(content_type=None), answer.headers


async def create(node: Server, title: str) -> int:
    """A new note; its id."""
    status, note, _ = await send(node, "POST", "/notes", {"title": title})
    assert status == 201, note
    return int(note["id"])


async def read_after(node: Server, position: str, path: str) -> Any:
    """Read a path from a node when it is as far as that position."""
    status, body, _ = await send(node, "GET", path, Notelog_Min_Position=position)
    assert status == 200, body
    return body


async def test_two_nodes_change_the_same_notes(cluster: Cluster, seed: int) -> None:
    """16 writers at each node change 8 notes at once: all get through, and the versions have no hole."""
    notes = [await create(cluster.nodes[0], f"note {number}") for number in range(NOTES)]
    await cluster.equal()

    async def write(node: Server, writer: int) -> int:
        dice, done = random.Random(f"{seed} {writer}"), 0
        while done < CHANGES:
            body = {"title": f"{node.data.name} {writer} {done}"}
            status, answer, _ = await send(node, "PATCH", f"/notes/{dice.choice(notes)}", body)
            assert status in (200, 409, 503), answer
            done += status == 200
        return done

    done = await asyncio.gather(*(write(node, writer) for node in cluster.nodes for writer in range(WRITERS)))
    assert await cluster.equal() == NOTES + sum(done) == NOTES + 2 * WRITERS * CHANGES
    events = read_events(cluster.nodes[0].data)
    for note in notes:
        versions = [event.version for event in events if event.note_id == note]
        assert versions == list(range(1, len(versions) + 1))
    assert len({digest(node.data) for node in cluster.nodes}) == 1


async def test_one_winner_at_two_nodes(cluster: Cluster) -> None:
    """Of all who change a note with the same If-Match, at both nodes, exactly one succeeds."""
    note = await create(cluster.nodes[0], "contended")
    await cluster.equal()
    for version in range(1, ROUNDS + 1):

        async def change(node: Server, writer: int, version: int = version) -> int:
            body = {"title": f"{version} {node.data.name} {writer}"}
            return (await send(node, "PATCH", f"/notes/{note}", body, If_Match=f'"{version}"'))[0]

        outcomes = await asyncio.gather(*(change(node, writer) for node in cluster.nodes for writer in range(WRITERS)))
        assert sorted(outcomes) == [200] + [412] * (2 * WRITERS - 1)
        await cluster.equal()


async def test_a_retry_at_a_node_that_lags(cluster: Cluster) -> None:
    """A request that was answered by one node and is sent again to another, which wakes up from a long sleep only now,
    is known there: the same answer, and nothing appended. A key with another request is refused there. The servers
    themselves remember a message for one second."""
    here, there = cluster.nodes
    config = (await ask_server(cluster, f"STREAM.INFO.{STREAM}"))["config"]
    await ask_server(cluster, f"STREAM.UPDATE.{STREAM}", config | {"duplicate_window": WINDOW_S * 10**9})
    note = await create(here, "lagging")
    await cluster.equal()
    for round_ in range(ROUNDS):
        there.send_signal(signal.SIGSTOP)
        requests = [
            ("POST", "/notes", {"title": f"new {round_}"}, {"Idempotency_Key": f"create-{round_}"}),
            ("PATCH", f"/notes/{note}", {"title": f"changed {round_}"}, {"Idempotency_Key": f"change-{round_}"}),
        ]
        first = [await send(here, method, path, body, **headers) for method, path, body, headers in requests]
        assert [status for status, _, _ in first] == [201, 200], first
        await send(here, "PATCH", f"/notes/{note}", {"title": f"changed again {round_}"})
        await asyncio.sleep(WINDOW_S + 0.2 if round_ == 0 else 0)
        there.send_signal(signal.SIGCONT)
        again = await asyncio.gather(
            *(send(there, method, path, body, **headers) for method, path, body, headers in requests)
        )
        for (status, body, headers), (status_again, body_again, headers_again) in zip(first, again, strict=True):
            assert (status_again, body_again) == (status, body)
            assert headers_again["ETag"] == headers["ETag"]
            assert headers_again["Idempotency-Replayed"] == "true"
        reused, problem, _ = await send(
            there, "PATCH", f"/notes/{note}", {"title": "x"}, Idempotency_Key=f"create-{round_}"
        )
        assert reused == 422, problem
    assert await cluster.equal() == 1 + 3 * ROUNDS


async def test_a_new_node_builds_itself(cluster: Cluster) -> None:
    """A node with an empty folder becomes equal to the others, and one that was stopped goes on where it was."""
    first = cluster.nodes[0]
    for number in range(50):
        await create(first, f"note {number}")
    await cluster.nodes[1].stop()
    for number in range(50):
        await create(first, f"later {number}")
    await cluster.nodes[1].start()
    async with cluster.node("node-2") as third:
        cluster.nodes.append(third)
        await third.start()
        assert await cluster.equal() == 100
        assert len({digest(node.data) for node in cluster.nodes}) == 1
        for node in cluster.nodes[1:]:
            page = "/notes?limit=200"
            assert await read_after(node, "100", page) == await read_after(first, "100", page)


async def test_a_websocket_moves_from_node_to_node(cluster: Cluster) -> None:
    """A client that resumes at another node gets what follows its position, and never a reset."""
    position, epoch, titles = 0, None, []
    for round_ in range(6):
        await create(cluster.nodes[0], f"note {round_}")
        node = cluster.nodes[round_ % 2]
        async with node.session.ws_connect(node.url + "/ws") as socket:
            subscribe = {"type": "subscribe", "id": "a", "feed": "events", "after": position}
            await socket.send_json(subscribe | ({"epoch": epoch} if epoch else {}))
            while len(titles) <= round_:
                frame = await asyncio.wait_for(socket.receive_json(), GOES_ON_WITHIN_S)
                assert frame["type"] in ("hello", "subscribed", "caught_up", "events"), frame
                epoch = frame.get("epoch", epoch)
                for event in frame.get("events", []):
                    titles.append(event["data"]["title"])
                position = frame.get("position", position)
    assert titles == [f"note {round_}" for round_ in range(6)]


async def test_a_replica_of_another_stream_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    """A folder that does not fit the stream ends the start with the reason: an embedded log, and another's replica."""
    await create(cluster.nodes[0], "note")
    embedded = Server(tmp_path / "embedded")
    async with embedded:
        await embedded.start()
        await create(embedded, "of its own")
        await embedded.stop()
    async with cluster.node("embedded") as node:
        with pytest.raises(ServerEnded, match="embedded log") as ended:
            await node.start()
        assert ended.value.code == 2
    await cluster.nodes[1].stop()
    shutil.copytree(cluster.nodes[1].data, tmp_path / "copied")
    async with Server(tmp_path / "copied") as node:
        with pytest.raises(ServerEnded, match="replica of a stream") as ended:
            await node.start()
        assert ended.value.code == 2
    async with Server(
        tmp_path / "copied", "--log", cluster.servers.url, environment={"NOTELOG_NATS_STREAM": "another"}
    ) as node:
        with pytest.raises(ServerEnded, match="there is no stream another") as ended:
            await node.start()
        assert ended.value.code == 2


async def test_a_rolling_upgrade(cluster: Cluster) -> None:
    """A node of the next version writes a shape that the others do not know: it goes on; the old one lives, stops its
    tables before that event, is no longer ready and says to upgrade; upgraded, it goes on where it stopped."""
    old, second = cluster.nodes
    await create(old, "known")
    await cluster.equal()
    assert await second.stop() == 0
    async with newer(cluster, second.data) as upgraded:
        await upgraded.start()
        await create(upgraded, "of a new shape")

        async def says_so() -> bool:
            status, report = await old.read("/readyz")
            error = str(report["projections"]["notes"]["error"])
            return status == 503 and "written by a newer version: upgrade" in error

        await until(says_so, GOES_ON_WITHIN_S, "/readyz says that an event is too new")
        assert (await old.read("/healthz"))[0] == 200
        assert (await old.read("/readyz"))[1]["projections"]["notes"]["checkpoint"] == 1
        assert (await old.read("/notes"))[0] == 503
        await create(upgraded, "and on")
        assert await titles(upgraded) == ["known", "of a new shape", "and on"]
        assert await old.stop() == 0
        async with newer(cluster, old.data) as last:
            await last.start()
            assert await titles(last) == await titles(upgraded)
            await create(last, "all upgraded")
            assert (await read_after(upgraded, "4", "/notes/4"))["title"] == "all upgraded"
            assert digest(old.data) == digest(second.data)


def newer(cluster: Cluster, data: Path) -> Server:
    """The folder's node, of the next version."""
    program = [sys.executable, "-m", "tests.cluster.newer_version"]
    return Server(data, "--log", cluster.servers.url, program=program)


async def titles(node: Server) -> list[str]:
    """Of all notes, by id."""
    status, page = await node.read("/notes?sort=id")
    assert status == 200, page
    return [note["title"] for note in page["notes"]]


@pytest.mark.parametrize("gone", ["deleted", "another one"])
async def test_a_node_that_loses_its_stream_ends(cluster: Cluster, gone: str) -> None:
    """A running node whose stream is gone, or is suddenly another one, stops with exit code 2 and one line that says
    why; what its ledger and its log have stays as it is."""
    await create(cluster.nodes[0], "kept")
    await cluster.equal()
    await ask_server(cluster, f"STREAM.DELETE.{STREAM}")
    if gone == "another one":
        await ask_server(cluster, f"STREAM.CREATE.{STREAM}", configuration(STREAM, 3))
    for node in cluster.nodes:
        await until(lambda node=node: not node.is_running(), GOES_ON_WITHIN_S, "the node has ended")
        with pytest.raises(ServerEnded) as ended:
            await node.is_ready()
        assert ended.value.code == 2
        (why,) = [line["text"] for line in node.log_lines() if "text" in line]
        assert why.startswith("notelog: ")
        assert ("there is no stream" if gone == "deleted" else "another stream") in why
        assert len(read_events(node.data)) == 1


async def test_a_node_that_waits_for_its_log_can_be_stopped(tmp_path: Path) -> None:
    """SIGTERM while no server answers a new node ends it with 0, as at any other time."""
    async with Server(tmp_path / "node", "--log", f"nats://127.0.0.1:{Ports().client}") as node:
        node.launch()
        await until((tmp_path / "node" / "lock").exists, GOES_ON_WITHIN_S, "the node has begun")
        assert await node.stop() == 0


async def test_a_node_that_builds_its_log_anew_raises_no_alarm(cluster: Cluster, tmp_path: Path) -> None:
    """With `events.db` deleted and `ledger.db` kept a node copies the stream again and goes on with its ledger."""
    key = tmp_path / "key.pem"
    make_key(key)
    async with Server(
        tmp_path / "node", "--log", cluster.servers.url, environment={"NOTELOG_LEDGER_KEY": str(key)}
    ) as node:
        await node.start()
        for number in range(30):
            await create(node, f"note {number}")
        await until(lambda: covers(node, 30), GOES_ON_WITHIN_S, "the ledger has all events")
        assert await node.stop() == 0
        for file in node.data.glob("events.db*"):
            file.unlink()
        await node.start()
        await create(node, "one more")
        await until(lambda: covers(node, 31), GOES_ON_WITHIN_S, "the ledger goes on")


async def covers(node: Server, size: int) -> bool:
    """Whether a checkpoint of that many events is signed."""
    async with node.session.get(node.url + "/tlog/checkpoint") as answer:
        return answer.status == 200 and int((await answer.text()).split("\n")[1]) >= size


async def ask_server(cluster: Cluster, verb: str, body: object = None) -> dict[str, Any]:
    """Ask a server something that no node would."""
    connection = await nats.connect(cluster.servers.url.split(","))
    asked = json.dumps(body).encode() if body else b""
    answer = json.loads((await connection.request(f"$JS.API.{verb}", asked, timeout=20)).data)
    await connection.close()
    assert "error" not in answer, answer
    return dict(answer)
