"""What clients send on the websocket: bad frames, too many, too large, none at all."""

import json
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from service.live import subscriber
from tests.service.running import Running, until
from tests.service.subscriber import connected


@pytest.fixture(autouse=True)
def nothing_is_our_fault(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing is logged with a traceback, whatever a client sends."""
    yield
    assert not [record for record in caplog.records if record.exc_info]


GOOD = {"type": "subscribe", "id": "s", "feed": "events"}
BAD: list[dict[str, Any]] = [
    {"feed": "colours"},
    {"feed": None},
    {"feed": ["events"]},
    {"after": -1},
    {"after": 1.5},
    {"after": "0"},
    {"after": True},
    {"after": 10**30},
    {"epoch": 1},
    {"id": ""},
    {"id": "x" * 65},
    {"id": 1},
    {"id": None},
    {"colour": "red"},
    {"where": []},
    {"where": 1},
    {"where": {"colour": "red"}},
    {"where": {"note_id": "1"}},
    {"where": {"note_id": [1, "2"]}},
    {"where": {"note_id": {}}},
    {"where": {"note_id": True}},
    {"where": {"type": 1}},
    {"where": {"priority": 1}},
    {"feed": "notes", "where": {"type": "NoteCreated"}},
    {"feed": "notes", "where": {"priority_min": "1"}},
    {"feed": "notes", "where": {"priority_min": [1]}},
    {"feed": "notes", "where": {"id": [[1]]}},
    {"feed": "notes", "where": {"created_by": 5}},
]


async def test_a_bad_frame_makes_no_subscription(notelog: Running) -> None:
    """A field that is wrong is told with the id that was given, and the connection goes on."""
    async with connected(notelog) as client:
        for wrong in BAD:
            error = await client.ask(**GOOD | wrong)
            given = (GOOD | wrong)["id"]
            assert (error["type"], error["code"]) == ("error", "bad_request"), wrong
            assert error["id"] == (given if isinstance(given, str) else None)
            assert error["message"]
        for missing in (
            {"type": "subscribe", "id": "s"},
            {"type": "subscribe", "feed": "events"},
            {"type": "unsubscribe"},
        ):
            assert (await client.ask(**missing))["code"] == "bad_request"
        await client.follow()


NO_FRAMES = ["", " ", "{", "[]", "1", '"a"', "null", "{}", '{"type":"sing"}', '{"type":null}', '{"type":[]}']
NO_FRAMES += [
    '{"type":{}}',
    '{"type":1}',
    '{"type":"Subscribe"}',
    '{"type":"hello"}',
    '{"type":"\\ud800"}',
    "[" * 60_000,
]


async def test_what_is_no_frame_closes(notelog: Running) -> None:
    """No JSON, no object, and no known type close the connection with 4400: coming back unchanged would not help."""
    for text in NO_FRAMES:
        async with connected(notelog) as client:
            await client.connection.send(text)
            assert await client.close_code() == 4400, text[:100]


async def test_binary_frames_close(notelog: Running) -> None:
    """A binary frame closes the connection with 4400, whatever is in it."""
    async with connected(notelog) as client:
        await client.connection.send(json.dumps(GOOD).encode())
        assert await client.close_code() == 4400


async def test_text_that_is_no_utf_8_closes(notelog: Running) -> None:
    """A text frame that is not UTF-8 closes the connection as RFC 6455 says."""
    async with connected(notelog) as client:
        await client.connection.send(b"\xff\xff", text=True)
        assert await client.close_code() == 1007


async def test_frames_of_64_kib_and_no_more(notelog: Running) -> None:
    """A frame of 64 KiB is read, in pieces too; one byte more closes with 1009."""
    frame = json.dumps(GOOD).encode()
    whole = frame + b" " * (64 * 1024 - len(frame))
    async with connected(notelog) as client:
        await client.connection.send(whole, text=True)
        assert (await client.frames(2))[0]["type"] == "subscribed"
        await client.connection.send([whole[:100].decode(), whole[100:].decode()])
        assert (await client.frame())["code"] == "id_in_use"
        await client.connection.send(whole + b" ", text=True)
        assert await client.close_code() == 1009


async def test_too_many_frames(notelog: Running) -> None:
    """A hundred frames at once are answered; what comes too fast is told so and the connection goes on."""
    async with connected(notelog) as client:
        for _ in range(300):
            await client.send(type="unsubscribe", id="x")
        codes = [frame["code"] for frame in await client.frames(300)]
        assert codes[:100] == ["unknown_subscription"] * 100
        assert "rate_limited" in codes
        assert {"unknown_subscription", "rate_limited"} == set(codes)

        async def is_admitted() -> bool:
            return (await client.ask(type="unsubscribe", id="x"))["code"] == "unknown_subscription"

        await until(is_admitted, "frames are taken again after a pause")


async def test_a_frame_after_the_close_counts_for_nothing(notelog: Running) -> None:
    """What a client sends behind a frame that closed its connection is not looked at."""
    async with connected(notelog) as client:
        await client.connection.send("rubbish")
        for _ in range(50):
            with suppress(ConnectionClosed):
                await client.send(**GOOD)
        assert await client.close_code() == 4400


def rubbish(dice: random.Random, depth: int = 0) -> Any:
    """A JSON value by chance, made of what might mean something to the service."""
    words = ["subscribe", "unsubscribe", "auth", "events", "notes", "s", "", "\x00", "𝄞" * 65, "NoteCreated"]
    names = ["type", "id", "feed", "after", "epoch", "where", "token", "note_id", "actor", "priority", "priority_min"]
    kind = dice.randrange(9 if depth < 4 else 6)
    if kind < 2:
        return dice.choice([0, 1, -1, 2**31, 2**63, 10**40, 1.5, -0.0, 1e300])
    if kind < 5:
        return dice.choice([*words, *names])
    if kind == 5:
        return dice.choice([None, True, False])
    if kind == 6:
        return [rubbish(dice, depth + 1) for _ in range(dice.randrange(4))]
    return {dice.choice(names): rubbish(dice, depth + 1) for _ in range(dice.randrange(6))}


async def test_frames_by_chance(notelog: Running, dice: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever JSON a client sends, it is answered or closed with a code that says why; never is it our fault."""
    monkeypatch.setattr(subscriber, "FRAMES_PER_S", 10_000)
    await notelog.note()
    codes = set()
    for _ in range(60):
        async with connected(notelog) as client:
            with suppress(ConnectionClosed):
                for _ in range(40):
                    good = {"type": dice.choice(["subscribe", "unsubscribe", "auth"]), "id": dice.choice(["s", "t"])}
                    more = rubbish(dice, 2)
                    frame = good | {"feed": "notes"} | more if isinstance(more, dict) else more
                    await client.connection.send(json.dumps(frame if dice.random() < 0.95 else rubbish(dice)))
                await client.connection.send("the end")
            codes.add(await client.close_code())
    assert codes == {4400}
    async with connected(notelog) as client:
        await client.follow(after=0)
