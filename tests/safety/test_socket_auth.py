"""Tokens on a websocket: shown in the header or the first frame, renewed, and ended when they end."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from service.live import socket_auth
from service.settings import Secret
from tests.safety.issuer import SECRET, Issuer
from tests.service.running import Running

WITHIN_S = 10.0


class Socket:
    """A websocket as a client has it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, **frame: Any) -> None:
        await self.socket.send_json(frame)

    async def frame(self) -> dict[str, Any]:
        """The next frame, which must be text."""
        return dict(json.loads(await self.socket.receive_str(timeout=WITHIN_S)))

    async def closed(self) -> int:
        """The close code, whatever frames come before it."""
        while (message := await self.socket.receive(timeout=WITHIN_S)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert message.type is aiohttp.WSMsgType.CLOSE, message
        return int(message.data)

    async def follow(self, feed: str) -> dict[str, Any]:
        """Ask for a feed; the answer."""
        await self.send(type="subscribe", id=feed, feed=feed)
        return await self.frame()


class Guarded:
    """A service that asks for tokens."""

    def __init__(self, running: Running, issuer: Issuer) -> None:
        self.running = running
        self._issuer = issuer

    def token(self, scope: str = "notes:read audit:read", **claims: Any) -> str:
        return self._issuer.token(scope, shared=True, **claims)

    @asynccontextmanager
    async def connect(self, token: str | None = None) -> AsyncIterator[Socket]:
        """A connection, with the token in the header where there is one."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with self.running.session.ws_connect(self.running.url + "/ws", headers=headers) as socket:
            yield Socket(socket)


@pytest.fixture
async def guarded(running: Running, issuer: Issuer) -> Guarded:
    """A service with a shared secret."""
    await running.start(auth_secret=Secret(SECRET), auth_audience="notelog")
    return Guarded(running, issuer)


async def test_a_client_may_send_all_at_once(guarded: Guarded) -> None:
    """A client sends ``auth`` and its subscriptions without waiting, and is greeted first."""
    async with guarded.connect() as socket:
        await socket.send(type="auth", token=guarded.token())
        await socket.send(type="subscribe", id="s", feed="notes", after=0)
        assert [(await socket.frame())["type"] for _ in range(3)] == ["hello", "subscribed", "caught_up"]


async def test_whoever_shows_nothing_is_closed(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token in time the connection ends with 4408, and nothing was said before."""
    monkeypatch.setattr(socket_auth, "AUTH_TIMEOUT_S", 0.2)
    async with guarded.connect() as socket:
        message = await socket.socket.receive(timeout=WITHIN_S)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 4408)


async def test_the_time_to_show_a_token_is_ten_seconds() -> None:
    """What the interface promises."""
    assert socket_auth.AUTH_TIMEOUT_S == 10.0


async def test_the_first_frame_must_be_auth(guarded: Guarded) -> None:
    """A client that asks before it has shown a token is closed with 4401."""
    async with guarded.connect() as socket:
        await socket.send(type="subscribe", id="s", feed="notes", after=0)
        assert await socket.closed() == 4401


async def test_what_is_no_frame_is_no_frame_before_auth_either(guarded: Guarded) -> None:
    """Rubbish before a token is closed with 4400."""
    async with guarded.connect() as socket:
        await socket.socket.send_str("{")
        assert await socket.closed() == 4400


@pytest.mark.parametrize("by_header", [True, False])
async def test_the_connection_ends_with_its_token(guarded: Guarded, by_header: bool) -> None:
    """When the token ends the connection is closed with 4401, whatever it follows."""
    token = guarded.token(exp=time.time() + 1.2)
    async with guarded.connect(token if by_header else None) as socket:
        if not by_header:
            await socket.send(type="auth", token=token)
        assert (await socket.frame())["type"] == "hello"
        assert (await socket.follow("events"))["type"] == "subscribed"
        assert await socket.closed() == 4401


async def test_a_renewal_keeps_the_connection(guarded: Guarded) -> None:
    """A new token in a frame ``auth`` is answered with nothing, and the connection lives on past the old one's end."""
    ends_at = time.time() + 1.2
    async with guarded.connect(guarded.token(exp=ends_at)) as socket:
        await socket.frame()
        await socket.follow("notes")
        await socket.frame()
        await socket.send(type="auth", token=guarded.token())
        # Long enough for a second look at the old token's end.
        with pytest.raises(TimeoutError):
            await socket.socket.receive(timeout=ends_at - time.time() + 2.2)
        await guarded.running.ask(
            "POST", "/notes", {"title": "Milk"}, headers={"Authorization": f"Bearer {guarded.token('notes:write')}"}
        )
        assert (await socket.frame())["notes"][0]["title"] == "Milk"


async def test_a_bad_renewal_ends_the_connection(guarded: Guarded) -> None:
    """A token that is not good is not overlooked because there was a good one before: 4401."""
    async with guarded.connect(guarded.token()) as socket:
        await socket.frame()
        await socket.send(type="auth", token=guarded.token(exp=1))
        assert await socket.closed() == 4401


async def test_a_renewal_does_not_change_who_asks(guarded: Guarded) -> None:
    """The token of another subject is no renewal: 4403."""
    async with guarded.connect(guarded.token()) as socket:
        await socket.frame()
        await socket.send(type="auth", token=guarded.token(sub="bob"))
        assert await socket.closed() == 4403


async def test_a_renewal_must_allow_what_is_followed(guarded: Guarded) -> None:
    """A renewal with less than the subscriptions need ends the connection with 4403; one with more widens it."""
    async with guarded.connect(guarded.token("notes:read")) as socket:
        await socket.frame()
        assert (await socket.follow("events"))["code"] == "forbidden"
        assert (await socket.follow("notes"))["type"] == "subscribed"
        await socket.frame()
        await socket.send(type="auth", token=guarded.token("notes:read audit:read"))
        assert (await socket.follow("events"))["type"] == "subscribed"
        await socket.frame()
        await socket.send(type="auth", token=guarded.token("notes:read"))
        assert await socket.closed() == 4403


async def test_a_renewal_need_not_allow_what_is_over(guarded: Guarded) -> None:
    """A renewal need not have the scope of a feed that is not followed any more."""
    async with guarded.connect(guarded.token("notes:read audit:read")) as socket:
        await socket.frame()
        await socket.follow("notes")
        await socket.frame()
        await socket.send(type="unsubscribe", id="notes")
        assert (await socket.frame())["type"] == "unsubscribed"
        await socket.send(type="auth", token=guarded.token("audit:read"))
        assert (await socket.follow("notes"))["code"] == "forbidden"
        assert (await socket.follow("events"))["type"] == "subscribed"


async def test_a_frame_auth_is_checked_for_its_shape(guarded: Guarded) -> None:
    """A frame ``auth`` without a token is a bad request, and there is still time to send a good one."""
    async with guarded.connect() as socket:
        await socket.send(type="auth")
        assert (await socket.frame())["code"] == "bad_request"
        await socket.send(type="auth", token=guarded.token())
        assert (await socket.frame())["type"] == "hello"


async def test_without_authentication_a_token_is_not_looked_at(running: Running) -> None:
    """A client may always send ``auth``; where nobody is asked for a token it is answered with nothing."""
    await running.start()
    async with running.session.ws_connect(running.url + "/ws", headers={"Authorization": "Bearer x"}) as raw:
        socket = Socket(raw)
        assert (await socket.frame())["type"] == "hello"
        await socket.send(type="auth", token="anything")
        assert (await socket.follow("events"))["type"] == "subscribed"


async def test_a_connection_without_upgrade_is_told_so(guarded: Guarded) -> None:
    """Without an upgrade ``/ws`` answers 426, token or not."""
    assert (await guarded.running.ask("GET", "/ws")).status == 426
    headers = {"Authorization": f"Bearer {guarded.token()}"}
    assert (await guarded.running.ask("GET", "/ws", headers=headers)).status == 426
