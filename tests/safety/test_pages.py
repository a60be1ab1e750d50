"""The headers of answers and pages: who answers, what a page may do, and nothing of the inside."""

import re
import sqlite3

import pytest

from service.pages.dashboard_page import FOLDER
from tests.service.running import Running


async def test_the_dashboard_may_do_only_what_its_own_files_do(running: Running) -> None:
    """The page runs, shows and fetches only what comes from here, and no other page may show it."""
    await running.start()
    for path in ("/", "/dashboard/dashboard.js"):
        answer = await running.get(path)
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
        assert "unsafe" not in str(policy)
    page = await running.get("/")
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"


async def test_the_page_has_nothing_that_its_policy_forbids(running: Running) -> None:
    """No script, style or handler stands in the page itself, and nothing in it comes from elsewhere."""
    await running.start()
    text = (await running.get("/")).body.decode()
    assert not re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text)
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", text)


async def test_every_file_of_the_dashboard_is_served(running: Running) -> None:
    """Each file by its name, with a type that browsers run it as, and again only when it has changed."""
    await running.start()
    types = {".js": "javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
    for file in FOLDER.iterdir():
        answer = await running.get(f"/dashboard/{file.name}")
        assert (answer.status, answer.body) == (200, file.read_bytes()), file
        assert types[file.suffix] in answer.headers["Content-Type"]
        assert answer.headers["Cache-Control"] == "no-cache"
        assert (await running.get(f"/dashboard/{file.name}", If_None_Match=answer.etag)).status == 304
    assert (await running.get("/favicon.ico")).headers["Content-Type"] == "image/svg+xml"
    assert (await running.get("/")).body == (FOLDER / "index.html").read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/dashboard",
        "/dashboard/",
        "/dashboard/.",
        "/dashboard/../settings.py",
        "/dashboard/..%2fsettings.py",
        "/dashboard/%2e%2e/settings.py",
        "/dashboard/..%5csettings.py",
        "/dashboard//etc/passwd",
        "/dashboard/%2fetc%2fpasswd",
        "/dashboard/dashboard.js%00",
        "/dashboard/__init__.py",
        "/docs/../settings.py",
        "/docs/%2e%2e%2fsettings.py",
        "/%2e%2e/%2e%2e/etc/passwd",
    ],
)
async def test_nothing_else_is_served(running: Running, path: str) -> None:
    """There is no listing, and no way out of the folder."""
    await running.start()
    answer = await running.raw(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 "), answer[:200]


async def test_every_answer_says_who_answers_and_no_more(running: Running) -> None:
    """``Server`` names the service, without versions, and browsers are told not to guess at types."""
    await running.start()
    await running.note()
    for method, path in (
        ("GET", "/"),
        ("GET", "/notes"),
        ("POST", "/notes"),
        ("GET", "/notes/7"),
        ("GET", "/nowhere"),
        ("PUT", "/notes"),
        ("OPTIONS", "/notes"),
        ("GET", "/ws"),
        ("GET", "/metrics"),
        ("DELETE", "/notes/1"),
    ):
        answer = await running.ask(method, path)
        assert answer.headers.getall("Server") == ["notelog"], path
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
    broken = await running.raw(b"rubbish\r\n\r\n")
    assert b"\r\nServer: notelog\r\n" in broken
    async with running.session.ws_connect(running.url + "/ws") as socket:
        assert socket._response.headers.getall("Server") == ["notelog"]


async def test_a_fault_inside_is_not_shown(running: Running) -> None:
    """When something breaks inside, the client is told so, and nothing more."""
    await running.start()
    await running.note()
    await running.get("/notes/1")  # the table has it; nothing is written to the table any more
    with sqlite3.connect(running.data / "notes.db") as tables:
        tables.execute("DROP TABLE notes")
    tables.close()
    answer = await running.get("/notes/1")
    assert (answer.status, answer.json["type"]) == (500, "/problems/internal")
    for word in (b"sqlite", b"table", b"Error", b"Traceback", b".py", str(running.data).encode()):
        assert word not in answer.body
