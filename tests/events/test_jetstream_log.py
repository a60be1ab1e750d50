"""The distributed engine beyond the contract: which streams and replicas fit, and several nodes on one stream."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import nats
import pytest

from events.errors import (
    AnotherEngine,
    BrokenLog,
    ClusterUnreachable,
    CommandReused,
    LogError,
    LogUnavailable,
    NewerFormat,
    StreamRefused,
    WrongExpectedPosition,
)
from events.jetstream_log import JetStreamLog
from events.log import Appended, EventLog
from events.nats_connection import Connection
from events.nats_settings import NatsSettings
from events.record import command_hash
from events.sqlite_log import SqliteLog
from events.stream_answers import NoAnswer
from events.stream_configuration import FORMAT, configuration
from events.stream_feed import Feed
from events.subscription import follow
from tests.engines import WITHIN_S, JetStreamEngine, creation, edit, everything
from tests.nats_servers import NatsServers, Ports

WINDOW_S = 1
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cluster(tmp_path: Path, one_server: NatsServers) -> JetStreamEngine:
    """A stream of its own on a server."""
    return JetStreamEngine(tmp_path, one_server)


@pytest.fixture(params=["one_server", "three_servers"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> JetStreamEngine:
    """A stream on one server, and one on three."""
    return JetStreamEngine(tmp_path, request.getfixturevalue(request.param))


async def node(cluster: JetStreamEngine, name: str) -> JetStreamLog:
    """One more node on the stream, with what the stream had when it came."""
    log = await JetStreamLog.open(cluster.file.with_name(f"{name}.db"), cluster.settings)
    await asyncio.wait_for(log.caught_up(), WITHIN_S)
    return log


async def ask(cluster: JetStreamEngine, verb: str, body: object) -> dict[str, Any]:
    """Ask the server something that no node would."""
    connection = await nats.connect(f"nats://{cluster.servers.servers[0].url}")
    answer = await connection.request(f"$JS.API.{verb}", json.dumps(body).encode(), timeout=WITHIN_S)
    await connection.close()
    return dict(json.loads(answer.data))


async def reach(log: EventLog, position: int) -> None:
    """Wait until a node has a position."""
    await asyncio.wait_for(log.wait_past(position - 1), WITHIN_S)


async def test_nodes_are_equal(cluster: JetStreamEngine) -> None:
    """What two nodes append is the same log on both, and on a third that comes later: ids, versions, salts and all."""
    first, second = await node(cluster, "first"), await node(cluster, "second")
    await asyncio.gather(*(log.append(creation(), 0) for log in (first, second) for _ in range(20)))
    await asyncio.gather(*(reach(log, 40) for log in (first, second)))
    third = await node(cluster, "third")
    assert await everything(first) == await everything(second) == await everything(third)
    assert first.epoch == second.epoch == third.epoch
    assert [record.note_id for record in await everything(third)] == list(range(1, 41))
    for log in (first, second, third):
        await log.close()


async def test_one_winner_on_two_nodes(cluster: JetStreamEngine) -> None:
    """Of two nodes that append with the same expected position one is refused, and then has what it lost to."""
    first, second = await node(cluster, "first"), await node(cluster, "second")
    last = (await first.append(creation(), 0)).record
    await reach(second, 1)
    for _ in range(10):
        outcomes = await asyncio.gather(
            *(log.append(edit(1), last.position) for log in (first, second)), return_exceptions=True
        )
        (lost,) = [outcome for outcome in outcomes if isinstance(outcome, WrongExpectedPosition)]
        (won,) = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        assert lost.actual == won.record.position
        last = won.record
        assert first.head == second.head == last.position
    for log in (first, second):
        await log.close()


async def test_a_command_is_known_on_every_node(cluster: JetStreamEngine) -> None:
    """A command that one node has appended is found by the other at once, however far behind that one is, also for a
    change of another note, and when the servers have forgotten it: they remember for a second here."""
    config = configuration(cluster.stream, 1) | {"duplicate_window": WINDOW_S * 10**9}
    assert "error" not in await ask(cluster, f"STREAM.CREATE.{cluster.stream}", config)
    first, second = await node(cluster, "first"), await node(cluster, "second")
    other = (await first.append(creation(), 0)).record
    for number in range(20):
        command, request = command_hash("ada", f"key {number}"), bytes(16)
        appended = await first.append(creation(command, request), 0)
        assert (await second.append(creation(command, request), 0)).record == appended.record
        assert await second.find(command) == appended.record
        with pytest.raises(CommandReused):
            await second.append(edit(other.note_id, command, b"x" * 16), other.position)
    head = first.head
    await asyncio.sleep(WINDOW_S + 0.5)
    for number in range(20):
        command, request = command_hash("ada", f"key {number}"), bytes(16)
        assert (await second.append(creation(command, request), 0)).repeated
    assert first.head == second.head == head
    for log in (first, second):
        await log.close()


async def test_a_command_used_twice_at_the_same_moment(either: JetStreamEngine) -> None:
    """One command for two notes on two nodes at the very same moment: one is recorded, the other is refused, and on
    every node the command names the one that is there."""
    first, second = await node(either, "first"), await node(either, "second")
    notes = [(await first.append(creation(), 0)).record for _ in range(20)]
    await reach(second, 20)
    for one, two in zip(notes[::2], notes[1::2], strict=True):
        command = command_hash("ada", f"key {one.note_id}")
        outcomes = await asyncio.gather(
            first.append(edit(one.note_id, command, b"1" * 16), one.position),
            second.append(edit(two.note_id, command, b"2" * 16), two.position),
            return_exceptions=True,
        )
        assert {type(outcome) for outcome in outcomes} == {Appended, CommandReused}, outcomes
        found = [await log.find(command) for log in (first, second)]
        assert found[0] == found[1]
        assert found[0] is not None
        assert found[0].part == 0
    head = max(first.head, second.head)
    assert head == 30
    await asyncio.gather(*(reach(log, head) for log in (first, second)))
    assert await everything(first) == await everything(second)
    for log in (first, second):
        await log.close()


@pytest.mark.parametrize(
    "unfit",
    [
        {"deny_delete": False},
        {"deny_purge": False},
        {"storage": "memory"},
        {"discard": "old"},
        {"max_msgs": 1000},
        {"max_age": 3600 * 10**9},
        {"retention": "interest"},
        {"allow_rollup_hdrs": True, "deny_purge": False},
        {"metadata": {}},
    ],
)
async def test_a_stream_that_is_not_fit_is_refused(cluster: JetStreamEngine, unfit: dict[str, Any]) -> None:
    """A stream that could lose events, or was made by somebody else, is refused with what is wrong with it."""
    config = configuration(cluster.stream, 1) | unfit
    assert "error" not in await ask(cluster, f"STREAM.CREATE.{cluster.stream}", config)
    with pytest.raises(StreamRefused, match=next(iter(reversed(unfit)))):
        await JetStreamLog.open(cluster.file, cluster.settings)


async def test_a_newer_stream_is_refused(cluster: JetStreamEngine) -> None:
    """A stream of a newer format is refused with the way out."""
    config = configuration(cluster.stream, 1)
    config["metadata"]["notelog.format"] = str(FORMAT + 1)
    await ask(cluster, f"STREAM.CREATE.{cluster.stream}", config)
    with pytest.raises(NewerFormat, match="upgrade"):
        await JetStreamLog.open(cluster.file, cluster.settings)


async def test_a_replica_that_does_not_fit_is_refused(
    cluster: JetStreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica of another stream, or of none (which is then not made), and an embedded log: refused with the
    reason."""
    monkeypatch.setattr("events.fitness.FIT_WITHIN_S", 0.1)
    log = await node(cluster, "node")
    for _ in range(3):
        await log.append(creation(), 0)
    await log.close()
    file = cluster.file.with_name("node.db")
    other = NatsSettings.of_url(cluster.servers.url, stream=f"{cluster.stream}-other")
    with pytest.raises(BrokenLog, match="there is no stream"):
        await JetStreamLog.open(file, other)
    await (await JetStreamLog.open(cluster.file.with_name("other.db"), other)).close()
    with pytest.raises(BrokenLog, match="another stream"):
        await JetStreamLog.open(file, other)
    with pytest.raises(AnotherEngine, match="replica"):
        await SqliteLog.open(file)
    embedded = await SqliteLog.open(cluster.file)
    await embedded.close()
    with pytest.raises(AnotherEngine, match="embedded"):
        await JetStreamLog.open(cluster.file, cluster.settings)


async def test_a_stream_that_lost_events_is_refused(cluster: JetStreamEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream with the same epoch and fewer events than the replica, and one with other events: both are refused."""
    monkeypatch.setattr("events.fitness.FIT_WITHIN_S", 0.1)
    ahead, behind = await node(cluster, "ahead"), await node(cluster, "behind")
    await ahead.append(creation(), 0)
    await reach(behind, 1)
    await behind.close()
    for _ in range(3):
        await ahead.append(creation(), 0)
    epoch = ahead.epoch
    await ahead.close()
    config = configuration(cluster.stream, 1)
    config["metadata"]["notelog.epoch"] = epoch
    await ask(cluster, f"STREAM.DELETE.{cluster.stream}", {})
    await ask(cluster, f"STREAM.CREATE.{cluster.stream}", config)
    with pytest.raises(BrokenLog, match="the stream lost events"):
        await node(cluster, "ahead")
    newcomer = await node(cluster, "newcomer")
    await newcomer.append(creation(), 0)
    await newcomer.close()
    with pytest.raises(BrokenLog, match="another one in the stream"):
        await node(cluster, "behind")


@pytest.mark.parametrize("born_again", [False, True])
async def test_a_stream_that_goes_while_a_node_runs(
    cluster: JetStreamEngine, monkeypatch: pytest.MonkeyPatch, born_again: bool
) -> None:
    """A log whose stream is gone, or is another one suddenly, says so to who waits for it, takes no more, still reads;
    and it does not make a new stream in place of the old one."""
    monkeypatch.setattr("events.fitness.FIT_WITHIN_S", 0.1)
    log = await node(cluster, "node")
    record = (await log.append(creation(), 0)).record
    await ask(cluster, f"STREAM.DELETE.{cluster.stream}", {})
    if born_again:
        await ask(cluster, f"STREAM.CREATE.{cluster.stream}", configuration(cluster.stream, 1))
    broken = await asyncio.wait_for(log.broken(), WITHIN_S)
    assert ("another stream" if born_again else "there is no stream") in str(broken)
    assert log.fault == str(broken)
    with pytest.raises(LogUnavailable):
        await log.append(creation(), 0)
    assert await everything(log) == [record]
    await log.close()
    found = await ask(cluster, f"STREAM.INFO.{cluster.stream}", {})
    assert ("error" in found) != born_again


async def test_a_log_can_be_closed_at_any_moment(tmp_path: Path, three_servers: NatsServers, dice: Random) -> None:
    """However soon after it was opened, a log that is closed lets go of everything: no cancel is lost on the way."""
    cluster = JetStreamEngine(tmp_path, three_servers)
    await (await node(cluster, "node")).close()
    for _ in range(200):
        log = await JetStreamLog.open(cluster.file.with_name("node.db"), cluster.settings)
        for _ in range(dice.randrange(30)):
            await asyncio.sleep(0)
        await asyncio.wait_for(log.close(), WITHIN_S)


async def test_without_a_server(cluster: JetStreamEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no server that answers a new node does not start; one with a replica does, for reading, and says why."""
    monkeypatch.setattr("events.replica_store.START_WITHIN_S", 1.0)
    log = await node(cluster, "node")
    before = [(await log.append(creation(), 0)).record]
    await log.close()
    nowhere = NatsSettings.of_url(f"nats://127.0.0.1:{Ports().client}", stream=cluster.stream)
    with pytest.raises(ClusterUnreachable):
        await JetStreamLog.open(cluster.file, nowhere)
    alone = await JetStreamLog.open(cluster.file.with_name("node.db"), nowhere)
    assert await everything(alone) == before
    assert alone.fault is not None
    with pytest.raises(LogUnavailable):
        await alone.append(creation(), 0)
    with pytest.raises(LogUnavailable):
        await alone.find(bytes(16))
    await alone.close()


async def fill(connection: Connection) -> None:
    """Send until neither the server nor the client library takes more."""
    unsent = 0
    while unsent < 5:
        try:
            await connection.send("nowhere", bytes(1024 * 1024 - 1024))
        except NoAnswer:
            unsent += 1


async def test_a_server_that_takes_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a server stands still and all buffers on the way to it are full, nothing that is asked waits for ever."""
    monkeypatch.setattr("events.nats_connection.ANSWER_WITHIN_S", 0.3)
    servers = NatsServers(tmp_path, 1)
    try:
        servers.start()
        await servers.ready()
        connection = Connection(JetStreamEngine(tmp_path, servers).settings)
        await connection.open(None)
        feed = Feed(connection.send)
        _, subscription = await connection.subscribe(feed)
        servers.servers[0].pause()
        async with asyncio.timeout(WITHIN_S):
            await fill(connection)
            with pytest.raises(NoAnswer):
                await connection.subscribe(feed)
            with pytest.raises(NoAnswer):
                await connection.unsubscribe(subscription)
    finally:
        servers.kill()


async def test_a_server_that_comes_and_goes(tmp_path: Path) -> None:
    """The only server is killed and started again while events are appended: whoever follows sees no hole and no
    repeat, and what was appended is there."""
    servers = NatsServers(tmp_path, 1)
    appended: list[int] = []
    followed: list[int] = []
    try:
        servers.start()
        await servers.ready()
        log = await node(JetStreamEngine(tmp_path, servers), "node")
        writers = [asyncio.create_task(append_on(log, appended)) for _ in range(16)]
        follower = asyncio.create_task(follow_on(log, followed))
        try:
            for _ in range(5):
                await grows(appended, len(appended) + 100, follower)
                servers.kill()
                servers.start()
            for writer in writers:
                writer.cancel()
            await asyncio.wait(writers)
            await grows(followed, log.head, follower)
        finally:
            for task in (follower, *writers):
                task.cancel()
            await log.close()
    finally:
        servers.kill()
    assert followed == list(range(1, len(followed) + 1))
    assert len(set(appended)) == len(appended)


async def append_on(log: EventLog, positions: list[int]) -> None:
    """Append for ever; what is refused or unknown is passed over."""
    while True:
        try:
            positions.append((await log.append(creation(), 0)).record.position)
        except LogError:
            await asyncio.sleep(0.01)


async def follow_on(log: EventLog, positions: list[int]) -> None:
    """Follow for ever."""
    async for page in follow(log, 0):
        positions.extend(record.position for record in page)


async def grows(positions: list[int], size: int, follower: "asyncio.Task[None]") -> None:
    """Wait until the list is that long, and the follower has not failed."""
    async with asyncio.timeout(WITHIN_S):
        while len(positions) < size:
            await asyncio.sleep(0.01)
            assert not follower.done(), follower.exception()


@pytest.mark.parametrize("url", ["http://host:1", "nats://", "nats://a,,b", "nats"])
def test_a_wrong_url(url: str) -> None:
    """What is no list of servers is a ValueError."""
    with pytest.raises(ValueError, match="expected nats://"):
        NatsSettings.of_url(url)


def test_nats_is_imported_in_this_mode_only() -> None:
    """The embedded service does not import the client library."""
    script = (
        "import sys, service.server, service.cli; sys.exit(any(name.split('.')[0] == 'nats' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0
