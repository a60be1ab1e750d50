"""Every route and feed, with every set of scopes and every bad token: who may, may; who may not, learns nothing."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import service.app
from service.settings import Secret
from tests.safety.issuer import AUDIENCE, ISSUER, SECRET, Issuer
from tests.service.running import Answer, Running

SCOPES = ("notes:read", "notes:write", "audit:read")
ALL_SCOPES = " ".join(SCOPES)
SETS = [set(some) for count in range(4) for some in itertools.combinations(SCOPES, count)]
FEEDS = {"events": "audit:read", "notes": "notes:read"}

# What only somebody who may read it can know.
HIDDEN = "a-title-that-nobody-may-guess"
OPEN = re.compile(
    r"/|/dashboard/.*|/favicon\.ico|/healthz|/readyz|/problems/.*|/docs(/.*)?|/(openapi|asyncapi)\.json|/ws"
)
# Paths that ask for the past, which needs more than the route's own scope.
PAST = ("/notes?as_of=1", "/notes/1?version=1", "/notes/1?as_of=1", "/notes?limit=1&as_of=1", "/notes?as_of=1&as_of=1")


def needed(method: str, path: str) -> set[str]:
    """What interface and docs promise that a request needs. A new path must be entered here."""
    if OPEN.fullmatch(path) or method == "OPTIONS":
        return set()
    if path in PAST:
        return {"notes:read", "audit:read"}
    if re.match(r"/(events|tlog)(/|\?|$)|/notes/[^/]+/history", path):
        return {"audit:read"}
    if path == "/metrics":
        return {"notes:read"}
    assert re.match(r"/notes(/|$)", path), f"say here which scope {path} needs"
    return {"notes:read"} if method in ("GET", "HEAD") else {"notes:write"}


@pytest.fixture(params=["shared secret", "published keys"])
async def guarded(
    request: pytest.FixtureRequest, running: Running, issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> "Guarded":
    """A service that asks for tokens, once with each kind of key, with a note that not everybody may see."""
    shared = request.param == "shared secret"
    guarded = Guarded(running, issuer, shared)
    add_routes = service.app.add_routes

    def add_and_show(router: web.UrlDispatcher, *rest: Any) -> None:
        add_routes(router, *rest)
        guarded.router = router

    monkeypatch.setattr(service.app, "add_routes", add_and_show)
    (tmp_path / "keys.json").write_bytes(issuer.key_set())
    keys = {"auth_secret": Secret(SECRET)} if shared else {"auth_jwks": str(tmp_path / "keys.json")}
    await running.start(**keys, auth_issuer=ISSUER, auth_audience=AUDIENCE)
    headers = {"Authorization": f"Bearer {guarded.token(ALL_SCOPES)}"}
    answer = await running.ask("POST", "/notes", {"title": HIDDEN}, headers=headers)
    assert answer.status == 201, answer.body
    return guarded


class Guarded:
    """The service, and who makes tokens for it."""

    def __init__(self, running: Running, issuer: Issuer, shared: bool) -> None:
        self.running = running
        self.router: web.UrlDispatcher
        self._issuer = issuer
        self._shared = shared

    def token(self, scope: str) -> str:
        """A good token."""
        return self._issuer.token(scope, shared=self._shared)

    def bad_tokens(self, scope: str) -> dict[str, str]:
        """What must not be let in."""
        return self._issuer.bad_tokens(scope, shared=self._shared)

    def requests(self) -> Iterator[tuple[str, str]]:
        """Every method and path that is served, parameters filled in, and those that ask for the past."""
        for route in self.router.routes():
            assert route.resource is not None
            path = re.sub(r"\{[^}]+\}", "1", route.resource.canonical)
            if path != "/ws":
                yield route.method, path
        yield from (("GET", path) for path in PAST)

    async def ask(self, method: str, path: str, headers: dict[str, str]) -> Answer:
        """One request that would do what its route is for, if it were let in."""
        body = {"title": "changed", "version": 1} if method in ("POST", "PUT", "PATCH") else None
        return await self.running.ask(method, path, body, headers=headers)


async def test_every_route_lets_in_exactly_the_scopes_it_needs(guarded: Guarded) -> None:
    """With each of the eight sets of scopes, a route answers if its scope is among them, else 403 and nothing else."""
    asked = list(guarded.requests())
    assert len(asked) > 20
    for (method, path), scopes in itertools.product(asked, SETS):
        head = guarded.running.log.head
        headers = {"Authorization": f"Bearer {guarded.token(' '.join(sorted(scopes)))}"}
        answer = await guarded.ask(method, path, headers)
        if needed(method, path) <= scopes:
            assert answer.status not in (401, 403), f"{method} {path} with {scopes}: {answer.status}"
        else:
            assert answer.status == 403, f"{method} {path} with {scopes}: {answer.status}"
            assert needed(method, path) == set(
                re.findall(r'scope="(.*)"', answer.headers["WWW-Authenticate"])[0].split()
            )
            assert_nothing_shown(guarded, answer, head, f"{method} {path} with {scopes}")


@pytest.mark.parametrize(
    "path", ["/notes?%61s_of=1", "/notes/1?vers%69on=1", "/notes/1?as%5Fof=1", "/notes?limit=1&as_%6ff=1"]
)
async def test_the_past_cannot_be_asked_for_in_other_letters(guarded: Guarded, path: str) -> None:
    """A parameter that is written with percent signs is the same parameter, and needs the same scope."""
    for scope, status in (("notes:read", b"403"), ("notes:read audit:read", b"200")):
        headers = f"Host: a\r\nAuthorization: Bearer {guarded.token(scope)}\r\nConnection: close\r\n\r\n"
        answer = await guarded.running.raw(f"GET {path} HTTP/1.1\r\n{headers}".encode())
        assert answer.split(b" ")[1] == status, answer


async def test_no_route_lets_in_a_bad_token(guarded: Guarded) -> None:
    """Without a token, and with each kind of bad one, a guarded route answers 401, appends nothing, shows nothing."""
    bad = {name: f"Bearer {token}" for name, token in guarded.bad_tokens(ALL_SCOPES).items()}
    del bad["too long"]  # as a header it is refused (431) before anybody looks at it
    good = guarded.token(ALL_SCOPES)
    bad |= {"basic": "Basic YWxpY2U6c2VjcmV0", "no scheme": good, "empty": "Bearer ", "two": f"Bearer {good} {good}"}
    asked = [(method, path) for method, path in guarded.requests() if needed(method, path)]
    for (method, path), name in itertools.product(asked, [None, *bad]):
        head = guarded.running.log.head
        answer = await guarded.ask(method, path, {} if name is None else {"Authorization": bad[name]})
        what = f"{method} {path} with {name}"
        assert answer.status == 401, f"{what}: {answer.status}"
        assert answer.headers["WWW-Authenticate"].startswith("Bearer"), what
        assert_nothing_shown(guarded, answer, head, what)


async def test_a_token_in_the_url_is_no_token(guarded: Guarded) -> None:
    """Tokens in URLs end up in logs and histories: none is taken from there."""
    for name in ("access_token", "token", "authorization"):
        assert (await guarded.ask("GET", f"/notes?{name}={guarded.token(ALL_SCOPES)}", {})).status == 401


async def test_open_routes_need_no_token(guarded: Guarded) -> None:
    """What is open answers without a token."""
    for method, path in guarded.requests():
        if not needed(method, path):
            assert (await guarded.ask(method, path, {})).status not in (401, 403), f"{method} {path}"


async def test_every_feed_lets_in_exactly_the_scope_it_needs(guarded: Guarded) -> None:
    """By header or first frame, a good token is greeted, and a feed begins if the token has its scope."""
    for scopes, by_header in itertools.product(SETS, (True, False)):
        frames = await follow(guarded, guarded.token(" ".join(scopes)), by_header)
        assert frames[0]["type"] == "hello"
        for feed, scope in FEEDS.items():
            mine = [frame for frame in frames if frame.get("id") == feed]
            if scope in scopes:
                assert mine[0]["type"] == "subscribed", (scopes, mine)
                assert any(frame["type"] == feed for frame in mine), (scopes, mine)
            else:
                assert [(frame["type"], frame["code"]) for frame in mine] == [("error", "forbidden")], (scopes, mine)


async def test_no_feed_lets_in_a_bad_token(guarded: Guarded) -> None:
    """A bad token gets 401 before the upgrade by header, and 4401 and not even a greeting by frame."""
    for name, token in guarded.bad_tokens(ALL_SCOPES).items():
        by_header = await guarded.running.ask("GET", "/ws", headers={**UPGRADE, "Authorization": f"Bearer {token}"})
        assert by_header.status == (431 if name == "too long" else 401), name
        async with guarded.running.session.ws_connect(guarded.running.url + "/ws") as socket:
            await socket.send_json({"type": "auth", "token": token})
            for feed in FEEDS:
                await socket.send_json({"type": "subscribe", "id": feed, "feed": feed, "after": 0})
            message = await socket.receive(timeout=10)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 4401), (name, message)


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


async def follow(guarded: Guarded, token: str, by_header: bool) -> list[dict[str, Any]]:
    """What a client is sent that asks for both feeds from the beginning."""
    headers = {"Authorization": f"Bearer {token}"} if by_header else {}
    frames: list[dict[str, Any]] = []
    async with guarded.running.session.ws_connect(guarded.running.url + "/ws", headers=headers) as socket:
        if not by_header:
            await socket.send_json({"type": "auth", "token": token})
        for feed in FEEDS:
            await socket.send_json({"type": "subscribe", "id": feed, "feed": feed, "after": 0})
        ended: set[str] = set()
        while ended != set(FEEDS):
            frames.append(json.loads(await socket.receive_str(timeout=10)))
            if frames[-1]["type"] in ("caught_up", "error"):
                ended.add(frames[-1]["id"])
    return frames


def assert_nothing_shown(guarded: Guarded, answer: Answer, head: int, what: str) -> None:
    """The answer has nothing of the notes or the log in it, and nothing was appended."""
    assert guarded.running.log.head == head, what
    assert HIDDEN.encode() not in answer.body, what
    assert not [name for name in answer.headers if name.lower().startswith("notelog")], what
    assert answer.headers.get("ETag") is None, what
    assert answer.headers["Content-Type"] == "application/problem+json", what
