"""The websocket itself: the greeting, subscriptions that begin and end, and how it closes."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed

from service.live import connection
from tests.service.running import Running
from tests.service.subscriber import connected, positions_of


@pytest.fixture(autouse=True)
def nothing_is_our_fault(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing is logged with a traceback, whatever a client sends."""
    yield
    assert not [record for record in caplog.records if record.exc_info]


async def test_the_first_frame_is_hello(notelog: Running) -> None:
    """The service greets first, with its epoch, its head and how often it pings."""
    await notelog.note()
    async with connected(notelog) as client:
        assert client.hello == {"type": "hello", "epoch": notelog.log.epoch, "head": 1, "heartbeat_s": 25}


async def test_the_sub_protocol_is_optional(notelog: Running) -> None:
    """``notelog.v1`` is chosen when it is offered; whoever offers nothing or something else is served too."""
    for offered in (None, ["notelog.v1"], ["other", "notelog.v1"], ["other"]):
        async with connected(notelog, subprotocols=offered) as client:
            expected = "notelog.v1" if offered and "notelog.v1" in offered else None
            assert client.connection.subprotocol == expected


async def test_another_client_library_sees_the_same(notelog: Running) -> None:
    """aiohttp's client gets the same frames: greeting, subscription, what was there, what comes, and the end."""
    await notelog.note()
    async with notelog.session.ws_connect(notelog.url + "/ws", protocols=["notelog.v1"]) as socket:
        assert socket.protocol == "notelog.v1"
        assert (await socket.receive_json())["type"] == "hello"
        await socket.send_json({"type": "subscribe", "id": "a", "feed": "events", "after": 0})
        assert [(await socket.receive_json())["type"] for _ in range(3)] == ["subscribed", "events", "caught_up"]
        await notelog.note()
        assert [event["position"] for event in (await socket.receive_json())["events"]] == [2]
        await socket.send_json({"type": "unsubscribe", "id": "a"})
        assert await socket.receive_json() == {"type": "unsubscribed", "id": "a"}
        await socket.send_str("rubbish")
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 4400


async def test_without_an_upgrade(notelog: Running) -> None:
    """A plain GET is told to upgrade, and to what."""
    answer = await notelog.get("/ws")
    assert (answer.status, answer.json["status"], answer.headers["Upgrade"]) == (426, 426, "websocket")


async def test_a_subscription_says_where_it_begins(notelog: Running) -> None:
    """``subscribed`` names epoch, place and head; ``after`` left out means from the head, and is caught up at once."""
    for _ in range(3):
        await notelog.note()
    async with connected(notelog) as client:
        epoch = notelog.log.epoch
        for feed in ("events", "notes"):
            said = await client.subscribe(feed, feed)
            assert said == {"type": "subscribed", "id": feed, "epoch": epoch, "after": 3, "head": 3}
            assert await client.frame() == {"type": "caught_up", "id": feed, "position": 3}
        said = await client.subscribe("again", after=1, epoch=epoch)
        assert said == {"type": "subscribed", "id": "again", "epoch": epoch, "after": 1, "head": 3}


@pytest.mark.parametrize("id_", ["a", " ", "x" * 64, "𝄞" * 64, '"\\\n\u0001', "\u2028</script>"])
async def test_an_id_comes_back_as_it_was_given(notelog: Running, id_: str) -> None:
    """Any string of 1 to 64 characters names a subscription, and stands so in all its frames."""
    await notelog.note()
    async with connected(notelog) as client:
        for feed in ("events", "notes"):
            frames = await client.follow(id_, feed, after=0)
            assert [frame["type"] for frame in frames] == [feed, "caught_up"]
            assert await client.ask(type="unsubscribe", id=id_) == {"type": "unsubscribed", "id": id_}


async def test_an_id_in_use(notelog: Running) -> None:
    """A second subscription under the same id is refused, and the first goes on, with not an event less."""
    async with connected(notelog) as client:
        await client.follow("a")
        assert (await client.ask(type="subscribe", id="a", feed="notes"))["code"] == "id_in_use"
        await notelog.note()
        assert positions_of([await client.frame()]) == [1]


async def test_sixteen_subscriptions_and_no_more(notelog: Running) -> None:
    """One connection carries sixteen subscriptions, each whole; a seventeenth is refused and disturbs none."""
    async with connected(notelog) as client:
        ids = [f"s{number}" for number in range(16)]
        for id_ in ids:
            await client.follow(id_)
        error = await client.ask(type="subscribe", id="17", feed="events")
        assert (error["id"], error["code"]) == ("17", "too_many_subscriptions")
        await notelog.note()
        frames = await client.frames(16)
        assert sorted(frame["id"] for frame in frames) == sorted(ids)
        assert positions_of(frames) == [1] * 16
        assert (await client.ask(type="unsubscribe", id="s3"))["type"] == "unsubscribed"
        await client.follow("17")


async def test_answers_come_in_the_order_of_what_was_asked(notelog: Running) -> None:
    """Who sends many frames without waiting can tell by their order which answer is to which."""
    await notelog.note()
    ids = [f"s{number}" for number in range(17)]
    async with connected(notelog) as client:
        for id_ in ids:
            await client.send(type="subscribe", id=id_, feed="events")
        await client.send(type="subscribe", id="s0", feed="events")
        await client.send(type="unsubscribe", id="s0")
        answers = []
        while len(answers) < 19:
            if (frame := await client.frame())["type"] != "caught_up":
                answers.append(frame)
    codes = [(frame["id"], frame.get("code", frame["type"])) for frame in answers]
    assert codes[:16] == [(id_, "subscribed") for id_ in ids[:16]]
    assert codes[16:] == [("s16", "too_many_subscriptions"), ("s0", "id_in_use"), ("s0", "unsubscribed")]


async def test_unsubscribing(notelog: Running) -> None:
    """After ``unsubscribed`` nothing more comes for the id, which is then free; what is not there cannot be ended."""
    async with connected(notelog) as client:
        await client.follow("a")
        assert await client.ask(type="unsubscribe", id="a") == {"type": "unsubscribed", "id": "a"}
        error = await client.ask(type="unsubscribe", id="a")
        assert (error["id"], error["code"]) == ("a", "unknown_subscription")
        await notelog.note()
        assert positions_of(await client.follow("a", after=0)) == [1]


async def test_many_begin_and_end_at_once(notelog: Running) -> None:
    """Subscriptions that begin and end without waiting for each other's answers all get theirs, and leave nothing."""
    for _ in range(5):
        await notelog.note()
    async with connected(notelog) as client:
        for _ in range(20):
            await client.send(type="subscribe", id="a", feed="notes", after=0)
            await client.send(type="unsubscribe", id="a")
        ends = 0
        while ends < 20:
            frame = await client.frame()
            ends += frame["type"] == "unsubscribed"
            assert frame["type"] != "error"
        await client.follow("a")


async def test_auth_is_taken_where_none_is_needed(notelog: Running) -> None:
    """A client that sends ``auth`` without waiting is served the same where authentication is off."""
    async with connected(notelog) as client:
        await client.send(type="auth", token="anything")
        await client.follow()


@pytest.mark.parametrize("feed", ["events", "notes"])
async def test_a_place_in_another_log_is_reset(notelog: Running, feed: str) -> None:
    """A place of another epoch or beyond the log is told to start again from 0; the subscription is over."""
    await notelog.note()
    async with connected(notelog) as client:
        epoch = notelog.log.epoch
        for wrong in ({"after": 1, "epoch": "f" * 32}, {"after": 2}, {"after": 2**63 - 1, "epoch": epoch}):
            reset = await client.ask(type="subscribe", id="a", feed=feed, **wrong)
            assert (reset["type"], reset["id"], reset["epoch"], reset["head"]) == ("reset", "a", epoch, 1)
            assert reset["reason"]
        assert (await client.ask(type="unsubscribe", id="a"))["code"] == "unknown_subscription"
        await client.follow("a", feed, after=0, epoch=epoch)


async def test_pings_are_answered_both_ways(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service answers pings with what was in them, and sends its own when it is time."""
    monkeypatch.setattr(connection, "PING_INTERVAL_S", 0)
    async with connected(notelog) as client:
        await asyncio.wait_for(await client.connection.ping(b"here?"), 10)
    async with notelog.session.ws_connect(notelog.url + "/ws", autoping=False) as socket:
        assert (await socket.receive()).type is aiohttp.WSMsgType.TEXT
        assert (await socket.receive(timeout=10)).type is aiohttp.WSMsgType.PING


async def test_no_pong_ends_the_connection(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not answer a ping is given up."""
    monkeypatch.setattr(connection, "PING_INTERVAL_S", 0)
    monkeypatch.setattr(connection, "PONG_TIMEOUT_S", 0)
    async with notelog.session.ws_connect(notelog.url + "/ws", autoping=False) as socket:
        types = [(await socket.receive(timeout=10)).type for _ in range(3)]
        assert types[:2] == [aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.PING]
        assert types[2] in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE)


async def test_stopping_says_so(notelog: Running) -> None:
    """On stop every connection is closed with 1001; up to then it has had everything in order, without a hole."""
    async with connected(notelog) as one, connected(notelog) as other:
        await one.follow(after=0)
        await other.follow("n", "notes", after=0)
        for _ in range(10):
            await notelog.note()
        stopping = asyncio.create_task(notelog.stop())
        for client, feed in ((one, "events"), (other, "notes")):
            seen: list[int] = []
            with suppress(ConnectionClosed):
                while True:
                    seen += [item["position"] for item in (await client.frame())[feed]]
            assert seen == list(range(1, len(seen) + 1))
            assert await client.close_code() == 1001
        await stopping


async def test_a_restart_is_no_reset(notelog: Running) -> None:
    """After a restart the log is the same: a client resumes where it was."""
    await notelog.note()
    epoch = notelog.log.epoch
    await notelog.restart()
    await notelog.note()
    async with connected(notelog) as client:
        assert client.hello["epoch"] == epoch
        assert positions_of(await client.follow(after=1, epoch=epoch)) == [2]


async def test_clients_that_go_without_a_word(notelog: Running) -> None:
    """Clients that drop the connection at any moment leave nothing behind, and the others get everything."""
    async with connected(notelog) as stays:
        await stays.follow(after=0)
        for number in range(30):
            async with connected(notelog) as client:
                if number % 3:
                    await client.send(type="subscribe", id="a", feed=["events", "notes"][number % 2], after=0)
                if number % 3 == 2:
                    await client.frames(2)
                client.connection.transport.abort()
            await notelog.note()
        assert positions_of(await stays.reach(30)) == list(range(1, 31))
