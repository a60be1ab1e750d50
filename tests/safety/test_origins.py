"""Pages of other origins: no websocket, no change, no reading, unless the operator has named them."""

from typing import Any

import aiohttp
import pytest

from service.http.origins import parse_allowed
from service.settings import Secret
from tests.safety.issuer import SECRET, Issuer
from tests.service.running import Answer, Running

FRIEND = "https://app.example"


def own_host(running: Running) -> str:
    """Host and port, as a browser puts them into Host and Origin."""
    return running.url.removeprefix("http://")


def foreign_origins(running: Running) -> list[str]:
    """Pages that must get nothing, some of which look like ours."""
    host = own_host(running)
    name, port = host.split(":")
    return [
        "null",
        "",
        "*",
        "https://evil.example",
        f"http://{host}.evil.example",
        f"http://{name}.evil.example:{port}",
        f"http://evil.example:{port}",
        f"http://evil.example#{host}",
        f"http://evil.example?{host}",
        f"http://evil.example/{host}",
        f"http://{host}@evil.example",
        f"http://evil.example@{host}",
        f"http://{host}/",
        f"http://{host}0",
        f"http://{name}",
        f"http://{name}:1{port}",
        f"http://{name}:{port}:{port}",
        f"http://{name}.:{port}",
        f"http://{name}%00:{port}",
        f"file://{host}",
        f"ftp://{host}",
        f"{host}",
        f"http://localhost:{port}",
        f"http://[::1]:{port}",
        f"http://{host} http://evil.example",
        f"http://{host}, http://evil.example",
        FRIEND + ".evil.example",
        FRIEND + ":444",
        FRIEND.replace("https", "http"),
        FRIEND.upper() + "/",
    ]


async def connect(running: Running, origin: str, **headers: str) -> int:
    """The status of a websocket's request: 101 if it was let in."""
    try:
        async with running.session.ws_connect(running.url + "/ws", headers={"Origin": origin, **headers}) as socket:
            assert (await socket.receive_json(timeout=10))["type"] == "hello"
            return 101
    except aiohttp.WSServerHandshakeError as error:
        return error.status


@pytest.mark.parametrize("allowed", [(), (FRIEND,)])
async def test_foreign_pages_get_no_websocket(running: Running, allowed: tuple[str, ...]) -> None:
    """Foreign, ``null`` and look-alike origins get 403 before the upgrade, with friends named or not."""
    await running.start(allowed_origins=allowed)
    for origin in foreign_origins(running):
        assert await connect(running, origin) == 403, origin


async def test_our_own_pages_and_friends_get_a_websocket(running: Running) -> None:
    """The page that came from where it connects to, and pages that the operator names, are let in; programs too."""
    await running.start(allowed_origins=(FRIEND, "http://localhost:5173"))
    for origin in (f"http://{own_host(running)}", FRIEND, "http://localhost:5173"):
        assert await connect(running, origin) == 101, origin
    async with running.session.ws_connect(running.url + "/ws") as socket:
        assert (await socket.receive_json(timeout=10))["type"] == "hello"


async def test_behind_a_proxy_the_host_decides(running: Running) -> None:
    """Behind a proxy that speaks TLS the page's scheme and port are not ours; Host says which page is our own."""
    await running.start()
    assert await connect(running, "https://notes.example", Host="notes.example") == 101
    assert await connect(running, "https://notes.example", Host="NOTES.example:443") == 101
    assert await connect(running, "https://notes.example:8443", Host="notes.example:8443") == 101
    assert await connect(running, "https://notes.example:8443", Host="notes.example") == 403
    assert await connect(running, "https://notes.example", Host="notes.example:8443") == 403
    assert await connect(running, "https://notes.example", Host="notes.example.evil.example") == 403


async def test_a_star_lets_every_page_in(running: Running) -> None:
    """An operator can open the service to all pages."""
    await running.start(allowed_origins=("*",))
    assert await connect(running, "https://evil.example") == 101
    answer = await running.ask("GET", "/notes", headers={"Origin": "https://evil.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "https://evil.example"


async def test_two_origins_are_none(running: Running) -> None:
    """A request with two Origin headers is not let in by the good one."""
    await running.start()
    own = f"http://{own_host(running)}"
    answer = await running.raw(
        f"GET /ws HTTP/1.1\r\nHost: {own_host(running)}\r\nOrigin: {own}\r\nOrigin: https://evil.example\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    assert b" 101 " not in answer.split(b"\r\n")[0]


CHANGES: list[tuple[str, str, Any]] = [
    ("POST", "/notes", {"title": "Milk"}),
    ("PUT", "/notes/1", {"title": "Milk"}),
    ("PATCH", "/notes/1", {"title": "Milk"}),
    ("DELETE", "/notes/1", None),
    ("POST", "/notes/1/restore", None),
    ("POST", "/notes/1/revert", {"version": 1}),
]


async def test_foreign_pages_change_nothing(running: Running) -> None:
    """A browser sends some changes of foreign pages without asking first; they get 403, and nothing is appended."""
    await running.start(allowed_origins=(FRIEND,))
    await running.note()
    head = running.log.head
    for method, path, body in CHANGES:
        for origin in foreign_origins(running):
            answer = await running.ask(method, path, body, headers={"Origin": origin})
            assert (answer.status, running.log.head) == (403, head), f"{method} {path} from {origin}"
    for origin in (f"http://{own_host(running)}", FRIEND):
        answer = await running.ask("POST", "/notes", {"title": "Milk"}, headers={"Origin": origin})
        assert answer.status == 201


async def preflight(running: Running, origin: str, path: str = "/notes/1", method: str = "PUT") -> Answer:
    """What a browser asks before a change."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key,if-match",
    }
    return await running.ask("OPTIONS", path, headers=headers)


async def test_pages_of_named_origins_may_read_the_answers(running: Running) -> None:
    """A named origin is answered to with its name and the headers it may read, errors included; others are not."""
    await running.start(allowed_origins=(FRIEND,))
    for path in ("/notes", "/notes/7", "/events"):
        answer = await running.ask("GET", path, headers={"Origin": FRIEND})
        assert answer.headers["Access-Control-Allow-Origin"] == FRIEND
        exposed = {name.strip().lower() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
        assert {"etag", "location", "link", "retry-after", "notelog-epoch", "notelog-position"} <= exposed
        for origin in foreign_origins(running):
            other = await running.ask("GET", path, headers={"Origin": origin})
            assert "Access-Control-Allow-Origin" not in other.headers, origin
            assert "origin" in other.headers["Vary"].lower()


async def test_a_preflight_is_answered_without_a_token(running: Running, issuer: Issuer) -> None:
    """A browser asks without the token whether it may send it; then an answer 401 can be read by the page too."""
    await running.start(allowed_origins=(FRIEND,), auth_secret=Secret(SECRET))
    for path, method in (("/notes", "POST"), ("/notes/1", "PUT"), ("/notes/1", "PATCH"), ("/notes/1", "DELETE")):
        answer = await preflight(running, FRIEND, path, method)
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == FRIEND
        assert answer.headers["Access-Control-Allow-Methods"] == method
        assert {"authorization", "if-match", "idempotency-key"} <= set(
            answer.headers["Access-Control-Allow-Headers"].lower().split(",")
        )
        assert int(answer.headers["Access-Control-Max-Age"]) > 0
    answer = await running.ask("GET", "/notes", headers={"Origin": FRIEND})
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (401, FRIEND)


async def test_a_preflight_of_a_foreign_page_is_refused(running: Running) -> None:
    """A foreign page may not, with friends named or not."""
    for allowed in ((), (FRIEND,)):
        await running.stop()
        await running.start(allowed_origins=allowed)
        for origin in foreign_origins(running):
            assert "Access-Control-Allow-Origin" not in (await preflight(running, origin)).headers, origin


@pytest.mark.parametrize("allowed", [(), (FRIEND,)])
async def test_options_that_is_no_preflight_says_what_is_allowed(running: Running, allowed: tuple[str, ...]) -> None:
    """OPTIONS answers 204 with Allow and the place of the log, whether pages of other origins may ask or not."""
    await running.start(allowed_origins=allowed)
    answer = await running.ask("OPTIONS", "/notes/1")
    assert answer.status == 204
    assert {"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"} == set(answer.headers["Allow"].split(", "))
    assert {"Notelog-Epoch", "Notelog-Position"} <= answer.headers.keys()


def test_a_setting_names_whole_origins() -> None:
    """Origins stand beside each other with commas or spaces; what is no origin is refused at the start."""
    assert parse_allowed("https://a.example, http://B.example:8080 http://[::1]:3000") == (
        "https://a.example",
        "http://b.example:8080",
        "http://[::1]:3000",
    )
    for wrong in ("a.example", "https://a.example/", "https://*.example", "null", "https://a.example/path", "ws://a"):
        with pytest.raises(ValueError, match="expected origins"):
            parse_allowed(wrong)
