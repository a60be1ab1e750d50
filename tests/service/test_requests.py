"""What a request must look like: its type, its size, its pace; and what it is told when it does not."""

import asyncio
import io
from typing import Any

import pytest

from service.http import requests
from tests.service.running import Running, problem


async def test_every_problem_has_a_page(notelog: Running) -> None:
    """The ``type`` of a problem is a relative URL that answers with an explanation."""
    for answer in (
        await notelog.get("/notes/1"),
        await notelog.post(json={}),
        await notelog.ask("POST", "/notes", data=b"{"),
        await notelog.ask("PUT", "/notes"),
        await notelog.ask("POST", "/notes", data=b"a", headers={"Content-Type": "text/plain"}),
    ):
        page = await notelog.get(answer.json["type"])
        assert (page.status, page.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
        assert str(answer.status).encode() in page.body


async def test_all_errors_of_a_body_at_once(notelog: Running) -> None:
    """A 422 names everything that is wrong, each with a pointer; a 400 says why it is no JSON."""
    body = {"description": 1, "created_at": "soon", "colour": "red"}
    errors = problem(await notelog.post(json=body), 422, "invalid")["errors"]
    assert {error["pointer"] for error in errors} == {"#/title", "#/description", "#/created_at", "#/colour"}
    assert all(error["detail"] for error in errors)
    broken = await notelog.ask("POST", "/notes", data=b"{", headers={"Content-Type": "application/json"})
    problem(broken, 400, "not-json")
    assert notelog.log.head == 0


async def test_media_types(notelog: Running) -> None:
    """JSON is taken, and a body without a type; anything else is answered 415, which names it; an encoding too."""
    await notelog.note()
    taken = ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"]
    for number, type_ in enumerate(taken, 1):
        answer = await notelog.ask("POST", "/notes", data=b'{"title":"a"}', headers={"Content-Type": type_})
        assert answer.status == 201
        body = b'{"priority":%d}' % number
        assert (await notelog.ask("PATCH", "/notes/1", data=body, headers={"Content-Type": type_})).status == 200
    refused = ["text/plain", "application/x-www-form-urlencoded", "application/merge-patch+json", "application/json5"]
    for type_ in refused:
        answer = await notelog.ask("POST", "/notes", data=b'{"title":"a"}', headers={"Content-Type": type_})
        assert type_ in problem(answer, 415, "unsupported-media-type")["detail"]
    answer = await notelog.ask("PATCH", "/notes/1", data=b"{}", headers={"Content-Type": "application/json-patch+json"})
    assert "application/json-patch+json" in problem(answer, 415, "unsupported-media-type")["detail"]
    zipped = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    problem(await notelog.ask("POST", "/notes", data=b"\x1f\x8b", headers=zipped), 415, "unsupported-media-type")


@pytest.mark.parametrize("text", ["1e0", "1e2", "%2B5", "%205", "5%20", "5.0", "1_0"])
async def test_integers_of_a_query_are_digits(notelog: Running, text: str) -> None:
    """What JSON would take for a number, or a lenient reader for an integer, is none in a query."""
    errors = problem(await notelog.get(f"/notes?limit={text}"), 422, "invalid")["errors"]
    assert [error["pointer"] for error in errors] == ["?limit"]
    assert (await notelog.get("/notes?limit=5&priority_min=-5")).status == 200


async def test_bodies_up_to_a_mebibyte(notelog: Running) -> None:
    """A body of 1 MiB is read, one byte more is answered 413, whether its length is said before or not."""
    for size, status in ((1024 * 1024, 201), (1024 * 1024 + 1, 413)):
        body = b'{"title":"Milk"}' + b" " * (size - 16)

        async def pieces(body: bytes = body) -> Any:
            for start in range(0, len(body), 100_000):
                yield body[start : start + 100_000]

        for sent in (io.BytesIO(body), pieces()):
            answer = await notelog.ask("POST", "/notes", data=sent, headers={"Content-Type": "application/json"})
            assert answer.status == status
    assert notelog.log.head == 2


async def test_a_body_that_comes_too_slowly(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not come in time is answered 408, and nothing is appended."""
    monkeypatch.setattr(requests, "BODY_TIMEOUT_S", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(notelog.url.rsplit(":", 1)[1]))
    writer.write(b'POST /notes HTTP/1.1\r\nHost: a\r\nContent-Length: 16\r\n\r\n{"title":')
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 408")
    assert b"application/problem+json" in head
    writer.close()
    assert notelog.log.head == 0
