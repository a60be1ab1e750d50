"""The websocket does what ``/asyncapi.json`` says: its frames, its filters, its codes."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from jsonschema import Draft7Validator

from service.live import socket_auth
from service.live.close_codes import CLOSE_CODES
from service.settings import Secret
from tests.description.described import Json
from tests.safety.issuer import SECRET, Issuer
from tests.service.running import WITHIN_S, Running

# A node that is behind the others, or a fault inside, cannot be brought about by frames.
NEEDS_FAULTS = {("Error.code", "not_yet")}
# Brought about by tests of the websocket that take their time: a reader that stops, a fault inside.
CLOSED_ELSEWHERE = {1011, 4008}


class Frames:
    """Every frame that was sent or received, and every close code."""

    def __init__(self, description: Json) -> None:
        self.description = description
        self.seen: list[Json] = []
        self.codes: set[int] = set()

    @asynccontextmanager
    async def connected(self, running: Running) -> AsyncIterator["Talk"]:
        """A connection whose frames are kept; it outlives the service."""
        async with ClientSession() as session, session.ws_connect(running.url + "/ws") as socket:
            yield Talk(socket, self)


class Talk:
    """One connection."""

    def __init__(self, socket: ClientWebSocketResponse, frames: Frames) -> None:
        self._socket = socket
        self._frames = frames

    async def send(self, **frame: Any) -> None:
        """Send a frame."""
        self._frames.seen.append(frame)
        await self._socket.send_json(frame)

    async def send_text(self, text: str) -> None:
        """Send what is not to be kept."""
        await self._socket.send_str(text)

    async def until(self, **fields: Any) -> Json:
        """Read on to a frame that has these fields."""
        while True:
            frame = json.loads(await self._socket.receive_str(timeout=WITHIN_S))
            self._frames.seen.append(frame)
            if fields.items() <= frame.items():
                return dict(frame)

    async def closed(self) -> int:
        """Read on until the service closes; its code."""
        while (message := await self._socket.receive(timeout=WITHIN_S)).type is WSMsgType.TEXT:
            self._frames.seen.append(json.loads(message.data))
        assert self._socket.close_code is not None
        self._frames.codes.add(self._socket.close_code)
        return self._socket.close_code


@pytest.fixture
async def frames(running: Running) -> Frames:
    """Nothing yet."""
    await running.start()
    return Frames((await running.get("/asyncapi.json")).json)


async def test_every_reference_leads_somewhere(frames: Frames) -> None:
    """Whatever the description refers to is in it."""
    text = json.dumps(frames.description)
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', text):
        place: Any = frames.description
        for step in reference.split("/"):
            place = place[step]


async def test_frames_are_as_described(running: Running, frames: Frames) -> None:
    """Each frame fits a message, and each message, field and code that is described comes about."""
    await follow_feeds(running, frames)
    await make_mistakes(running, frames)
    await show_tokens(running, frames)
    for frame in frames.seen:
        assert [name for name in messages(frames) if fits(frames, name, frame)], frame
    assert {name for name in messages(frames) for frame in frames.seen if fits(frames, name, frame)} == messages(frames)
    assert set(described_values(frames)) - set(seen_values(frames)) <= NEEDS_FAULTS


async def test_close_codes_are_as_described(running: Running, frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service closes with the codes that it describes, and no other."""
    async with frames.connected(running) as talk:
        await talk.send_text("no JSON")
        assert await talk.closed() == 4400
    async with frames.connected(running) as talk:
        await talk.send_text("x" * 70_000)
        assert await talk.closed() == 1009
    async with frames.connected(running) as talk:
        await talk.until(type="hello")
        assert (await asyncio.gather(talk.closed(), running.stop()))[0] == 1001
    await running.start(max_connections=1)
    async with frames.connected(running), frames.connected(running) as talk:
        assert await talk.closed() == 4429
    await running.stop()
    await show_bad_tokens(running, frames, monkeypatch)
    described = {int(code) for code in frames.description["channels"]["websocket"]["x-close-codes"]}
    assert described == {close.code for close in CLOSE_CODES}
    assert described - frames.codes == CLOSED_ELSEWHERE
    assert frames.codes <= described


@pytest.mark.parametrize("feed", ["events", "notes"])
async def test_filters_are_as_described(running: Running, frames: Frames, feed: str) -> None:
    """Each field of a filter is taken as a value and, where that is described, as a list; no other field is."""
    schemas = frames.description["components"]["schemas"]
    async with frames.connected(running) as talk:
        for field, schema in schemas[f"{feed.capitalize()}Where"]["properties"].items():
            for value in examples(schema):
                await talk.send(type="subscribe", id="s", feed=feed, where={field: value})
                await talk.until(type="subscribed")
                await talk.send(type="unsubscribe", id="s")
                await talk.until(type="unsubscribed")
        await talk.send(type="subscribe", id="s", feed=feed, where={"colour": "red"})
        known = (await talk.until(type="error", code="bad_request"))["message"].partition("known are ")[2]
        assert set(known.split(", ")) == set(schemas[f"{feed.capitalize()}Where"]["properties"])


async def follow_feeds(running: Running, frames: Frames) -> None:
    """Both feeds, from the beginning, with every kind of event."""
    everything = {"title": "Oats", "description": "Rolled", "created_at": "2017-08-23 00:00", "created_by": "Bob"}
    async with frames.connected(running) as talk:
        await running.note("Milk")
        await running.put("/notes/1", {**everything, "priority": 3})
        epoch = (await talk.until(type="hello"))["epoch"]
        filters: dict[str, Json] = {"events": {"note_id": 1}, "notes": {"created_by": ["Bob", "anonymous"]}}
        for feed, where in filters.items():
            await talk.send(type="subscribe", id=feed, feed=feed, after=0, epoch=epoch, where=where)
            await talk.until(type="caught_up", id=feed)
        await running.delete("/notes/1")
        await running.post("/notes/1/revert", {"version": 1})
        await talk.until(type="events", position=4)
        await talk.until(type="notes", position=4)
        await talk.send(type="unsubscribe", id="events")
        await talk.until(type="unsubscribed")


async def make_mistakes(running: Running, frames: Frames) -> None:
    """What is refused, and does not end the connection."""
    async with frames.connected(running) as talk:
        await talk.send_text('{"type": "subscribe", "id": 7, "feed": "all"}')
        await talk.until(type="error", code="bad_request")
        await talk.send(type="subscribe", id="s", feed="events", after=1000)
        await talk.until(type="reset", reason="beyond_head")
        await talk.send(type="subscribe", id="s", feed="events", epoch="another")
        await talk.until(type="reset", reason="epoch")
        for number in range(17):
            await talk.send(type="subscribe", id=f"s{number}", feed="notes")
        await talk.until(type="error", code="too_many_subscriptions")
        await talk.send(type="subscribe", id="s0", feed="notes")
        await talk.until(type="error", code="id_in_use")
        await talk.send(type="unsubscribe", id="s")
        await talk.until(type="error", code="unknown_subscription")
        for _ in range(150):
            await talk.send(type="unsubscribe", id="s")
        await talk.until(type="error", code="rate_limited")


async def show_tokens(running: Running, frames: Frames) -> None:
    """A token as the first frame, and a feed that it does not allow."""
    await running.stop()
    await running.start(auth_secret=Secret(SECRET))
    async with frames.connected(running) as talk:
        await talk.send(type="auth", token=token())
        await talk.until(type="hello")
        await talk.send(type="subscribe", id="s", feed="events")
        await talk.until(type="error", code="forbidden")


async def show_bad_tokens(running: Running, frames: Frames, patch: pytest.MonkeyPatch) -> None:
    """Tokens for which the connection is closed."""
    patch.setattr(socket_auth, "AUTH_TIMEOUT_S", 0.1)
    await running.start(auth_secret=Secret(SECRET), max_connections=100)
    async with frames.connected(running) as talk:
        assert await talk.closed() == 4408
    async with frames.connected(running) as talk:
        await talk.send(type="auth", token="none")
        assert await talk.closed() == 4401
    async with frames.connected(running) as talk:
        await talk.send(type="auth", token=token())
        await talk.until(type="hello")
        await talk.send(type="auth", token=token(sub="bob"))
        assert await talk.closed() == 4403


def token(**claims: Any) -> str:
    """A token that allows to read notes."""
    return issuer().token("notes:read", shared=True, iss=None, aud=None, **claims)


@cache
def issuer() -> Issuer:
    """Who makes tokens; its keys take a moment to make."""
    return Issuer()


def messages(frames: Frames) -> set[str]:
    """The names of all messages."""
    return set(frames.description["components"]["messages"])


def fits(frames: Frames, name: str, frame: Json) -> bool:
    """Whether a frame fits a message and has no field that the message does not name."""
    document = {"components": {"schemas": closed(frames.description["components"]["schemas"])}}
    return Draft7Validator({**document, "$ref": f"#/components/schemas/{name}"}).is_valid(frame)


def closed(schema: Any) -> Any:
    """The schema with every object closed."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    return {"additionalProperties": False, **inner} if "properties" in schema else inner


def described_values(frames: Frames) -> Iterator[tuple[str, str]]:
    """Each message with each of its fields, and each of the values that a field of codes can have."""
    for name in messages(frames):
        for field, schema in frames.description["components"]["schemas"][name]["properties"].items():
            yield name, field
            if name in ("Error", "Reset"):
                yield from ((f"{name}.{field}", value) for value in schema.get("enum", ()) if field != "type")


def seen_values(frames: Frames) -> Iterator[tuple[str, str]]:
    """The same of the frames that were there."""
    for frame in frames.seen:
        for name in messages(frames):
            if fits(frames, name, frame):
                yield from ((name, field) for field in frame)
                yield from ((f"{name}.{field}", str(value)) for field, value in frame.items())


def examples(schema: Json) -> list[Any]:
    """A value of each type that a field of a filter may have."""
    found: list[Any] = []
    for choice in schema.get("anyOf", [schema]):
        if choice.get("type") == "integer":
            found.append(1)
        elif choice.get("type") == "string":
            found.append("Bob")
        elif choice.get("type") == "array":
            found.append(examples(choice["items"]))
    return found
