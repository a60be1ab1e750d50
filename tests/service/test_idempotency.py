"""Idempotency-Key: a change that was recorded is recorded once, and answered the same for ever."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from events import sqlite_log
from events.errors import LogUnavailable, MalformedEvent
from projections.notes import Notes
from service.settings import Secret
from tests.safety.issuer import SECRET, hs256
from tests.service.running import Answer, Running, until

# What a repeat must answer like the first: all but the date, the id of the request, and that it is a repeat.
SAME = ("ETag", "Location", "Content-Type", "Notelog-Epoch", "Notelog-Position")
Change = Callable[[], Awaitable[Answer]]


def changes(notelog: Running) -> dict[str, Change]:
    """One request of each kind that changes a note, under a key each; to be sent in this order."""
    key = {"Idempotency_Key": "key"}
    return {
        "create": lambda: notelog.post(json={"title": "one"}, Idempotency_Key="create"),
        "replace": lambda: notelog.put("/notes/1", {"title": "two"}, Idempotency_Key="replace", If_Match='"1"'),
        "patch": lambda: notelog.patch("/notes/1", {"priority": 3}, **key),
        "delete": lambda: notelog.delete("/notes/1", Idempotency_Key="delete", If_Match='"3"'),
        "restore": lambda: notelog.post("/notes/1/restore", Idempotency_Key="restore", If_Match='"4"'),
        "revert": lambda: notelog.post("/notes/1/revert", {"version": 1}, Idempotency_Key="revert", If_Match='"5"'),
    }


def is_repeat(answer: Answer, first: Answer) -> bool:
    """Whether an answer is the first one's repeat."""
    assert "Idempotency-Replayed" not in first.headers
    assert (answer.status, answer.body) == (first.status, first.body)
    assert {name: answer.headers.get(name) for name in SAME} == {name: first.headers.get(name) for name in SAME}
    return answer.headers.get("Idempotency-Replayed") == "true"


async def test_a_repeat_is_answered_as_the_first_time(notelog: Running) -> None:
    """Each change sent again at once, after all later ones, and after a restart, is answered as then, word for word."""
    first: dict[str, Answer] = {}
    for name, change in changes(notelog).items():
        first[name] = await change()
        assert first[name].status in (200, 201, 204), first[name].body
        assert is_repeat(await change(), first[name])
    head = notelog.log.head
    assert head == len(first)
    for _ in range(2):
        for name, change in reversed(changes(notelog).items()):
            assert is_repeat(await change(), first[name])
        assert notelog.log.head == head
        await notelog.delete("/notes/1")
        head = notelog.log.head
        await notelog.restart()


async def test_a_key_belongs_to_one_request(notelog: Running) -> None:
    """The same key with another method, path, If-Match or body, even by a space, is refused and appends nothing."""
    await notelog.note()
    await notelog.note()
    body, key = b'{"title":"Tea"}', {"Idempotency-Key": "k", "If-Match": '"1"', "Content-Type": "application/json"}
    assert (await notelog.ask("PUT", "/notes/1", data=body, headers=key)).status == 200
    for method, path, sent, headers in [
        ("PATCH", "/notes/1", body, key),
        ("PUT", "/notes/2", body, key),
        ("PUT", "/notes/9", body, key),
        ("PUT", "/notes/abc", body, key),
        ("PUT", "/notes/1", body + b" ", key),
        ("PUT", "/notes/1", b'{"title":"Coffee"}', key),
        ("PUT", "/notes/1", body, key | {"If-Match": '"2"'}),
        ("PUT", "/notes/1", body, key | {"If-Match": "*"}),
        ("PUT", "/notes/1", b'{"title":1}', key),
        ("PUT", "/notes/1", b"{", key),
        ("DELETE", "/notes/1", b"", key),
        ("POST", "/notes", body, key),
        ("POST", "/notes/1/restore", b"", key),
    ]:
        answer = await notelog.ask(method, path, data=sent, headers=headers)
        assert (answer.status, answer.json["type"]) == (422, "/problems/key-reused"), (method, path, sent, headers)
    assert notelog.log.head == 3


async def test_a_refusal_is_not_remembered(notelog: Running) -> None:
    """What was refused appended nothing: the same request under the same key is judged anew, and may then succeed."""
    await notelog.note()

    async def change() -> Answer:
        return await notelog.patch("/notes/2", {"priority": 1}, Idempotency_Key="k", If_Match='"2"')

    assert (await change()).status == 404
    await notelog.note()
    assert (await change()).status == 412
    await notelog.patch("/notes/2", {"title": "Tea"})
    answer = await change()
    assert (answer.status, answer.etag) == (200, '"3"')
    assert is_repeat(await change(), answer)
    assert (await notelog.post(json={}, Idempotency_Key="c")).status == 422
    assert (await notelog.post(json={"title": "Milk"}, Idempotency_Key="c")).status == 201


async def test_what_changed_nothing_is_not_remembered(notelog: Running) -> None:
    """A request that found nothing to do is judged anew, and does it when there is something to do."""
    await notelog.note()
    for _ in range(2):
        answer = await notelog.put("/notes/1", {"title": "Milk"}, Idempotency_Key="k")
        assert (answer.status, answer.etag, "Idempotency-Replayed" in answer.headers) == (200, '"1"', False)
    await notelog.put("/notes/1", {"title": "Tea"})
    answer = await notelog.put("/notes/1", {"title": "Milk"}, Idempotency_Key="k")
    assert (answer.status, answer.etag, "Idempotency-Replayed" in answer.headers) == (200, '"3"', False)


async def test_a_repeat_is_told_before_anything_else(notelog: Running) -> None:
    """A repeat is a repeat though its note is gone, its condition failed, or its type or query would be refused now."""
    await notelog.note()
    headers = {"Idempotency-Key": "k", "If-Match": '"1"', "Content-Type": "application/json"}
    first = await notelog.ask("PUT", "/notes/1", data=b'{"title":"Tea"}', headers=headers)
    await notelog.delete("/notes/1")
    for path, type_ in (("/notes/1", "application/json"), ("/notes/1", "text/plain"), ("/notes/1?x=y", "text/plain")):
        sent = headers | {"Content-Type": type_}
        assert is_repeat(await notelog.ask("PUT", path, data=b'{"title":"Tea"}', headers=sent), first)
    assert (await notelog.get("/notes/1")).status == 404


async def test_repeats_at_the_same_time(notelog: Running) -> None:
    """Of many at once under one key one appends, and all get its answer: the others wait for it."""
    note = await notelog.note()
    for send in (
        lambda: notelog.post(json={"title": "once"}, Idempotency_Key="post"),
        lambda: notelog.patch("/notes/1", {"priority": 5}, Idempotency_Key="patch", If_Match=f'"{note["version"]}"'),
        lambda: notelog.delete("/notes/1", Idempotency_Key="delete"),
    ):
        head = notelog.log.head
        answers = await asyncio.gather(*(send() for _ in range(24)))
        assert len({(answer.status, answer.body, answer.headers.get("ETag")) for answer in answers}) == 1
        assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
        assert notelog.log.head == head + 1


async def test_different_requests_under_one_key_at_the_same_time(notelog: Running) -> None:
    """Of different requests at once under one key one appends; the others are refused or told apart, never appended."""
    for _ in range(4):
        await notelog.note()
    answers = await asyncio.gather(
        *(
            notelog.patch(f"/notes/{id_}", {"priority": p}, Idempotency_Key="k")
            for id_ in range(1, 5)
            for p in (1, 2, 3)
        )
    )
    assert sorted(answer.status for answer in answers) == [200] + [422] * 11
    assert notelog.log.head == 5


async def test_a_client_that_went_and_comes_again(notelog: Running) -> None:
    """A client that goes without waiting for its answer, and asks again, finds its change made once."""
    for number in range(40):
        body = b'{"title":"number %d"}' % number
        head = b"POST /notes HTTP/1.1\r\nHost: a\r\nIdempotency-Key: %d\r\nContent-Length: %d\r\n\r\n"
        _, writer = await asyncio.open_connection("127.0.0.1", int(notelog.url.rsplit(":", 1)[1]))
        writer.write(head % (number, len(body)) + body)
        if number % 2:
            await writer.drain()
        writer.transport.abort()
        again = await notelog.ask(
            "POST", "/notes", data=body, headers={"Idempotency-Key": str(number), "Content-Type": ""}
        )
        assert again.status == 201
    titles = [note["title"] for note in await notelog.all_notes()]
    assert sorted(titles) == sorted(f"number {number}" for number in range(40))


@pytest.mark.parametrize("key", ["k", "~", "x" * 255, "8e03978e-40d5-43dd-bc93-6894a57f9324", '"quoted"', "a,b;c=d"])
async def test_keys_that_are_taken(notelog: Running, key: str) -> None:
    """Any visible ASCII up to 255 bytes is a key, and told from every other."""
    answer = await notelog.post(json={"title": "Milk"}, Idempotency_Key=key)
    assert is_repeat(await notelog.post(json={"title": "Milk"}, Idempotency_Key=key), answer)
    assert (await notelog.post(json={"title": "Milk"}, Idempotency_Key=key[:-1] + "!")).json["id"] == 2


async def test_keys_that_are_refused(notelog: Running) -> None:
    """A key that is empty, too long, not visible ASCII, or there twice is refused, and nothing is appended."""
    for key in ("", "x" * 256, "a b", "ä", "a\tb"):
        answer = await notelog.post(json={"title": "Milk"}, Idempotency_Key=key)
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "Idempotency-Key"), key
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert (await notelog.ask("POST", "/notes", {"title": "Milk"}, headers=twice)).status == 422
    assert notelog.log.head == 0


async def test_keys_are_each_subjects_own(stopped: Running) -> None:
    """Two subjects may use the same key for different things; each is answered its own."""
    await stopped.start(auth_secret=Secret(SECRET))

    def token(subject: str) -> str:
        claims = {"sub": subject, "scope": "notes:read notes:write", "exp": int(time.time()) + 600}
        return f"Bearer {hs256(claims, SECRET)}"

    for _ in range(2):
        for number, subject in enumerate(("ada", "bob"), 1):
            headers = {"Idempotency_Key": "k", "Authorization": token(subject)}
            answer = await stopped.post(json={"title": f"of {subject}"}, **headers)
            assert (answer.status, answer.json["id"], answer.json["created_by"]) == (201, number, subject)


async def test_a_repeat_while_the_log_takes_no_writes(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk is full, what was recorded before is still answered; what is new is told to come back."""
    first = {name: await change() for name, change in changes(notelog).items()}

    def full(*_: Any) -> None:
        raise LogUnavailable("the disk is full")

    monkeypatch.setattr(sqlite_log, "require_room", full)
    refused = await notelog.post(json={"title": "new"}, Idempotency_Key="new")
    assert (refused.status, refused.json["type"]) == (503, "/problems/log-unavailable")
    assert "Retry-After" in refused.headers
    for name, change in changes(notelog).items():
        assert is_repeat(await change(), first[name])
    monkeypatch.undo()
    await until(lambda: notelog.log.fault is None, "the log takes writes again")
    assert (await notelog.post(json={"title": "new"}, Idempotency_Key="new")).status == 201


async def test_a_repeat_while_the_table_stands_still(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the table of notes has stopped, what was recorded is answered from the log."""
    first = {name: await change() for name, change in changes(notelog).items()}

    def broken(*_: Any) -> None:
        raise MalformedEvent(notelog.log.head, "NoteCreated", "no reason")

    monkeypatch.setattr(Notes, "apply", broken)
    await notelog.note()
    await until(lambda: notelog.is_stopped("notes"), "the projection stops")
    for name, change in changes(notelog).items():
        assert is_repeat(await change(), first[name])
    assert (await notelog.patch("/notes/1", {"priority": 77}, Idempotency_Key="n")).status == 503
