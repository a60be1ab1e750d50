"""A log moves from one machine into a stream, and back: every byte at its position, through whatever breaks."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from asyncio.subprocess import DEVNULL
from pathlib import Path

import pytest

from events.errors import StreamImporting
from events.jetstream import Stream
from events.jetstream_log import JetStreamLog
from events.nats_settings import NatsSettings
from events.record import RecordedEvent
from events.stream_answers import NoAnswer
from projections.signed_note import make_key
from tests.audit.folders import REPOSITORY, beside, result
from tests.audit.histories import EPOCH, History
from tests.audit.test_tlog import published
from tests.audit.test_transfer import meta
from tests.engines import WITHIN_S, creation, everything, found_in
from tests.nats_servers import NatsServers
from tests.service.running import Running

pytestmark = pytest.mark.faults

EVENTS = 12_000
KILLS = 4

_numbers = itertools.count(1)


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a stream that is not there yet; commands take it from the environment."""
    name = f"moved{next(_numbers)}"
    monkeypatch.setenv("NOTELOG_NATS_STREAM", name)
    return name


@pytest.fixture
def servers(three_servers: NatsServers) -> NatsServers:
    """Three of them."""
    return three_servers


async def test_a_log_moves_into_a_stream_and_back(
    servers: NatsServers, stream: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a file into a stream, onto a node, out of the node's folder and into a file: equal records, notes and Merkle
    root each time, under an epoch of its own that names the one before; keys that were used stay known."""
    make_key(tmp_path / "key.pem")
    at_home = Running(tmp_path / "home", monkeypatch)
    await at_home.start(ledger_key=tmp_path / "key.pem")
    for number in range(40):
        note = await at_home.note(f"number {number}")
        await at_home.patch(f"/notes/{note['id']}", {"priority": number + 1}, Idempotency_Key=f"k{number}")
    await at_home.delete("/notes/7")
    _, root = await published(at_home, 81)
    notes, epoch = await at_home.all_notes(), at_home.log.epoch
    exported = (await beside("export", "--data", at_home.data)).stdout
    await at_home.stop()

    done = await beside("import", "-", "--log", servers.url, "--json", stdin=exported)
    assert result(done) == {"position": 81, "parent_epoch": epoch}
    node = Running(tmp_path / "node", monkeypatch)
    await node.start(log=servers.url, nats_stream=stream, ledger_key=tmp_path / "key.pem")
    in_stream = node.log.epoch
    assert in_stream != epoch
    assert (await published(node, 81))[1] == root
    assert await node.all_notes() == notes
    again = await node.patch("/notes/3", {"priority": 3}, Idempotency_Key="k2")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (await node.patch("/notes/3", {"priority": 9})).position == 82
    _, root = await published(node, 82)
    notes = await node.all_notes()
    exported = (await beside("export", "--data", node.data)).stdout
    await node.stop()
    assert found_in(node.data / "events.db")[:81] == found_in(at_home.data / "events.db")
    assert (meta(node.data / "events.db")["parent_epoch"], meta(node.data / "events.db")["parent_position"]) == (
        epoch,
        "81",
    )

    back = Running(tmp_path / "back", monkeypatch)
    done = await beside("import", "-", "--data", back.data, "--json", stdin=exported)
    assert result(done) == {"position": 82, "parent_epoch": in_stream}
    await back.start(ledger_key=tmp_path / "key.pem")
    assert (await published(back, 82))[1] == root
    assert await back.all_notes() == notes
    await back.stop()
    assert found_in(back.data / "events.db") == found_in(node.data / "events.db")


async def test_an_import_that_is_killed_goes_on(
    servers: NatsServers, stream: str, tmp_path: Path, dice: random.Random
) -> None:
    """SIGKILL at random moments leaves the first so many events of the file, no node starts on them, and the next run
    goes on behind them; in the end a node has exactly what a file would have."""
    file = tmp_path / "log.ndjson"
    file.write_bytes(b"".join(History(dice, EVENTS).lines()))
    settings = NatsSettings.of_url(servers.url, stream=stream)
    lengths = [0]
    for number in range(KILLS):
        past = max(lengths[-1], EVENTS * number // (KILLS + 2) + dice.randrange(EVENTS // 20))
        lengths.append(await killed_past(past, file, servers.url, settings))
        if lengths[-1] < EVENTS:
            with pytest.raises(StreamImporting):
                await JetStreamLog.open(tmp_path / "early.db", settings)
    print(f"killed at {lengths}")
    assert lengths == sorted(lengths)
    done = await beside("import", file, "--log", servers.url, "--json")
    if done.returncode == 0:
        assert lengths[-1] <= result(done).get("found", 0) < EVENTS  # what it had sent may arrive after its end
    else:  # the last one killed was at its end
        assert "events already" in result(done, code=1)["error"]
    assert await records_of(settings, tmp_path / "node.db") == await imported(file, tmp_path)


async def killed_past(position: int, file: Path, url: str, settings: NatsSettings) -> int:
    """Run the import and kill it when the stream has grown past a position; what it has then."""
    command = [sys.executable, "-m", "service", "import", str(file), "--log", url]
    async with Stream.connected(settings, birth={"notelog.importing": EPOCH}) as stream:
        process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdout=DEVNULL, stderr=DEVNULL)
        while await stream.last_position() <= position and process.returncode is None:
            pass
        if process.returncode is None:
            process.kill()
        await process.wait()
        return await stream.last_position()


async def test_an_import_goes_on_when_the_leader_dies(tmp_path: Path, dice: random.Random) -> None:
    """The leader of the stream is killed while an import runs: the command waits for another one, and all is there."""
    servers = NatsServers(tmp_path, 3)
    file = tmp_path / "log.ndjson"
    file.write_bytes(b"".join(History(dice, EVENTS).lines()))
    settings = NatsSettings.of_url(servers.url)
    try:
        servers.start()
        await servers.ready()
        importing = asyncio.create_task(beside("import", file, "--log", servers.url, "--json"))
        async with asyncio.timeout(WITHIN_S), Stream.connected(settings, birth={"notelog.importing": EPOCH}) as stream:
            while await stream.last_position() < EVENTS // 4:
                pass
        leader = await asyncio.to_thread(servers.leader_of, settings.stream)
        assert leader is not None
        leader.kill()
        print(f"killed the leader at {await length(settings)}")
        assert result(await importing)["position"] == EVENTS
        assert await records_of(settings, tmp_path / "node.db") == await imported(file, tmp_path)
    finally:
        servers.kill()


async def test_what_does_not_fit_is_refused(
    servers: NatsServers, stream: str, tmp_path: Path, dice: random.Random
) -> None:
    """A bad line, a stream with events, one that is being filled from another log, one with other events: exit code 1,
    the reason, and the stream as it was."""
    history = History(dice, 30)
    lines = b"".join(history.lines())
    settings = NatsSettings.of_url(servers.url, stream=stream)
    spoiled = b"".join([*history.lines()[:9], b"{}\n"])
    command = ("import", "-", "--log", servers.url, "--json")
    assert "line 10" in result(await beside(*command, stdin=spoiled), code=1)["error"]
    assert await length(settings) == 0
    birth = {"notelog.importing": history.records[0]["epoch"]}
    async with Stream.connected(settings, birth=birth) as begun:
        await begun.publish("other", b"other", 0)
    assert "another one than in the file" in result(await beside(*command, stdin=lines), code=1)["error"]
    renamed = lines.replace(history.records[0]["epoch"].encode(), b"f" * 32)
    assert "being filled from the log" in result(await beside(*command, stdin=renamed), code=1)["error"]
    assert await length(settings) == 1


async def test_a_log_with_events_is_no_place_for_an_import(
    servers: NatsServers, stream: str, tmp_path: Path, dice: random.Random
) -> None:
    """A stream that nodes have written to is left as it is; one on which a node runs, and nothing is, can be filled."""
    lines = b"".join(History(dice, 30).lines())
    settings = NatsSettings.of_url(servers.url, stream=stream)
    log = await JetStreamLog.open(tmp_path / "node.db", settings)
    try:
        done = await beside("import", "-", "--log", servers.url, "--json", stdin=lines)
        assert result(done)["position"] == 30
        await asyncio.wait_for(log.wait_past(29), WITHIN_S)
        assert (await log.append(creation(), 0)).record.position == 31
    finally:
        await log.close()
    done = await beside("import", "-", "--log", servers.url, "--json", stdin=lines)
    assert "31 events already" in result(done, code=1)["error"]
    assert await length(settings) == 31


async def length(settings: NatsSettings) -> int:
    """How many messages the stream has; 0 where there is none."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                async with Stream.connected(settings) as stream:
                    return (await stream.state()).last_seq
            except NoAnswer:
                await asyncio.sleep(0.1)
            except Exception as error:
                if "there is no stream" in str(error):
                    return 0
                raise


async def records_of(settings: NatsSettings, file: Path) -> list[RecordedEvent]:
    """All that a new node has when it has caught up."""
    log = await JetStreamLog.open(file, settings)
    try:
        await asyncio.wait_for(log.caught_up(), WITHIN_S)
        return await everything(log)
    finally:
        await log.close()


async def imported(file: Path, folder: Path) -> list[RecordedEvent]:
    """What an import of the same file into a folder gives."""
    assert (await beside("import", file, "--data", folder / "sqlite")).returncode == 0
    return found_in(folder / "sqlite" / "events.db")
