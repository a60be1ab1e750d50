"""REST over a real socket: what each request is answered with, status, headers and body."""

import asyncio
import io
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from projections.notes import Notes
from service import freshness, requests
from tests.service.running import Answer, Running

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def problem(answer: Answer, status: int, slug: str) -> dict[str, Any]:
    """The members of an answer that must be this problem."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    members = answer.json
    assert (members["type"], members["status"]) == (f"/problems/{slug}", status)
    assert members["title"]
    assert members["detail"]
    return dict(members)


def shown(answer: Answer, notelog: Running, position: int) -> None:
    """The answer says which log it is of, and the position that it shows."""
    assert answer.headers["Notelog-Epoch"] == notelog.log.epoch
    assert answer.position == position


async def test_the_tutorials_own_calls(notelog: Running) -> None:
    """The tutorial's client, which sends its bodies without saying that they are JSON, works as it stands."""
    first = {"title": "note two", "created_at": "2017-08-23 00:00", "created_by": "apcelent", "priority": 4}
    first["description"] = "sample notes"
    no_type = {"skip_auto_headers": ["Content-Type"]}
    created = await notelog.ask("POST", "/notes", data=json.dumps(first), **no_type)
    assert created.status == 201
    changed = await notelog.ask("PUT", "/notes/1", data=json.dumps(first | {"title": "note edit"}), **no_type)
    assert (changed.status, changed.json["title"]) == (200, "note edit")
    assert [note["title"] for note in await notelog.all_notes()] == ["note edit"]
    assert (await notelog.delete("/notes/1")).status == 204
    assert (await notelog.get("/notes")).json == {"notes": [], "next": None}


async def test_creating(notelog: Running) -> None:
    """POST answers 201 with the note, where it is, and its tag; ids are 1, 2, 3, … in the order of creation."""
    answer = await notelog.post(json={"title": "Milk", "priority": 3, "created_at": "2017-08-23 00:00"})
    assert answer.status == 201
    assert (answer.headers["Location"], answer.etag) == ("/notes/1", '"1"')
    assert answer.headers["Content-Type"].startswith("application/json")
    note = answer.json
    assert STAMP.fullmatch(note.pop("updated_at"))
    assert note == {
        "id": 1,
        "title": "Milk",
        "description": "",
        "created_at": "2017-08-23T00:00:00Z",
        "created_by": "anonymous",
        "priority": 3,
        "version": 1,
        "position": 1,
    }
    shown(answer, notelog, 1)
    assert STAMP.fullmatch((await notelog.note())["created_at"])
    assert (await notelog.note())["id"] == 3


async def test_reading_one(notelog: Running) -> None:
    """GET answers the note as it was answered when it was written, with its tag and the position that it shows."""
    note = await notelog.note()
    await notelog.note()
    answer = await notelog.get("/notes/1")
    assert (answer.status, answer.json, answer.etag) == (200, note, '"1"')
    shown(answer, notelog, 2)
    for tag in ('"1"', 'W/"1"', '"7", "1"', "*"):
        unchanged = await notelog.get("/notes/1", If_None_Match=tag)
        assert (unchanged.status, unchanged.body, unchanged.etag) == (304, b"", '"1"')
    for tag in ('"2"', "1", '"01"', 'x"1"'):
        assert (await notelog.get("/notes/1", If_None_Match=tag)).status == 200


async def test_replacing(notelog: Running) -> None:
    """PUT replaces all but author and time of creation, which keep their values when left out."""
    await notelog.note(description="two litres", created_by="ada", created_at="2017-08-23 00:00", priority=3)
    answer = await notelog.put("/notes/1", {"title": "Tea"})
    assert (answer.status, answer.etag) == (200, '"2"')
    note = answer.json
    assert (note["title"], note["description"], note["priority"], note["version"]) == ("Tea", "", 0, 2)
    assert (note["created_by"], note["created_at"]) == ("ada", "2017-08-23T00:00:00Z")
    shown(answer, notelog, 2)
    assert (await notelog.get("/notes/1")).json == note


async def test_patching(notelog: Running) -> None:
    """PATCH changes what it names, as JSON or as a merge patch; null brings a default back."""
    await notelog.note(description="two litres", priority=3)
    answer = await notelog.patch("/notes/1", {"title": "Tea"})
    assert (answer.status, answer.json["title"], answer.json["description"]) == (200, "Tea", "two litres")
    merge = {"Content-Type": "application/merge-patch+json; charset=utf-8"}
    answer = await notelog.ask("PATCH", "/notes/1", data=b'{"description":null,"priority":null}', headers=merge)
    assert (answer.status, answer.json["description"], answer.json["priority"], answer.etag) == (200, "", 0, '"3"')


async def test_deleting_and_restoring(notelog: Running) -> None:
    """DELETE answers 204, then there is nothing but a note of when; restore brings all of it back."""
    note = await notelog.note(priority=3)
    answer = await notelog.delete("/notes/1")
    assert (answer.status, answer.body) == (204, b"")
    shown(answer, notelog, 2)
    for gone in (
        await notelog.get("/notes/1"),
        await notelog.delete("/notes/1"),
        await notelog.put("/notes/1", {"title": "Tea"}),
        await notelog.patch("/notes/1", {}),
    ):
        assert STAMP.fullmatch(problem(gone, 404, "not-found")["deleted_at"])
    assert await notelog.all_notes() == []
    answer = await notelog.post("/notes/1/restore")
    assert (answer.status, answer.etag) == (200, '"3"')
    back = answer.json
    assert {name: back[name] for name in ("id", "title", "priority")} == {"id": 1, "title": "Milk", "priority": 3}
    assert (await notelog.get("/notes/1")).json == back
    assert note["version"] < back["version"]
    assert (await notelog.note())["id"] == 2


async def test_what_is_got_can_be_put_back(notelog: Running) -> None:
    """GET, then PUT of the same body: 200, and nothing was appended; with one field changed, that alone changes."""
    await notelog.note("ä 𝄞 \u2028", description='\x01\n"', created_at="2017-08-23T02:00:00.50+02:00", priority=-1)
    got = (await notelog.get("/notes/1")).json
    answer = await notelog.put("/notes/1", got)
    assert (answer.status, answer.json, answer.etag) == (200, got, '"1"')
    shown(answer, notelog, 1)
    assert notelog.log.head == 1
    changed = (await notelog.put("/notes/1", got | {"priority": 5}, If_Match='"1"')).json
    (record,) = await notelog.log.read(1)
    assert (changed["version"], json.loads(record.data)) == (2, {"priority": 5})


async def test_nothing_changed_nothing_appended(notelog: Running) -> None:
    """PUT, PATCH and restore that leave the note as it is answer it, with its own position, and append nothing."""
    note = await notelog.note()
    await notelog.note()
    for answer in (
        await notelog.put("/notes/1", {"title": "Milk"}),
        await notelog.patch("/notes/1", {"title": "Milk"}),
        await notelog.patch("/notes/1", {}, If_Match='"1"'),
        await notelog.post("/notes/1/restore"),
    ):
        assert (answer.status, answer.json, answer.etag) == (200, note, '"1"')
        shown(answer, notelog, 1)
    assert notelog.log.head == 2


async def test_head_is_get_without_a_body(notelog: Running) -> None:
    """HEAD answers what GET answers, headers and all, but the body."""
    await notelog.note()
    for path in ("/notes", "/notes/1", "/notes/2", "/healthz", "/readyz", "/problems/not-found"):
        get, head = await notelog.get(path), await notelog.ask("HEAD", path)
        assert (head.status, head.body) == (get.status, b"")
        for name in ("Content-Type", "Content-Length", "ETag", "Notelog-Position", "Notelog-Epoch"):
            assert head.headers.get(name) == get.headers.get(name)


ALLOWED = {
    "/notes": {"GET", "HEAD", "POST", "OPTIONS"},
    "/notes/1": {"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"},
    "/notes/1/restore": {"POST", "OPTIONS"},
    "/ws": {"GET", "OPTIONS"},
    "/healthz": {"GET", "HEAD", "OPTIONS"},
    "/readyz": {"GET", "HEAD", "OPTIONS"},
    "/problems/invalid": {"GET", "HEAD", "OPTIONS"},
}


async def test_methods(notelog: Running) -> None:
    """OPTIONS says which methods a path takes; any other is answered 405, which says it too."""
    for path, allowed in ALLOWED.items():
        answer = await notelog.ask("OPTIONS", path)
        assert (answer.status, answer.body) == (204, b"")
        assert set(answer.headers["Allow"].split(", ")) == allowed
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - allowed:
            refused = await notelog.ask(method, path)
            problem(refused, 405, "method-not-allowed")
            assert set(refused.headers["Allow"].split(", ")) == allowed
    problem(await notelog.ask("OPTIONS", "/nowhere"), 404, "not-found")


async def test_what_is_not_there(notelog: Running) -> None:
    """An id that never was, or that no note can have, and a path that is none: 404, whatever the method and body."""
    for id_ in ("1", "0", "-1", "x", "1.0", "1e0", "9223372036854775807", "9223372036854775808", "%31x", "²", "9" * 50):
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            body = {"title": "Milk"} if method in ("PUT", "PATCH") else None
            answer = problem(await notelog.ask(method, f"/notes/{id_}", body), 404, "not-found")
            assert "deleted_at" not in answer
            assert "None" not in answer["detail"]
        problem(await notelog.post(f"/notes/{id_}/restore"), 404, "not-found")
    for path in ("/", "/note", "/notes/", "/notes/1/", "/notes/1/restore/x", "/problems/nonsense", "//notes"):
        assert (await notelog.get(path)).status == 404 or path == "/"
    assert notelog.log.head == 0


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


async def test_the_order_of_the_checks(notelog: Running) -> None:
    """First the body (422), then existence (404), then the condition (412)."""
    await notelog.note()
    bad, good, wrong = {"title": 1}, {"title": "Tea"}, '"7"'
    problem(await notelog.put("/notes/2", bad, If_Match=wrong), 422, "invalid")
    problem(await notelog.put("/notes/2", good, If_Match=wrong), 404, "not-found")
    problem(await notelog.put("/notes/1", bad, If_Match=wrong), 422, "invalid")
    problem(await notelog.put("/notes/1", good, If_Match=wrong), 412, "precondition-failed")
    assert (await notelog.put("/notes/1", good, If_Match='"1"')).status == 200


async def test_all_errors_of_a_body_at_once(notelog: Running) -> None:
    """A 422 names everything that is wrong, each with a pointer; a 400 says why it is no JSON."""
    body = {"description": 1, "created_at": "soon", "colour": "red"}
    errors = problem(await notelog.post(json=body), 422, "invalid")["errors"]
    assert {error["pointer"] for error in errors} == {"#/title", "#/description", "#/created_at", "#/colour"}
    assert all(error["detail"] for error in errors)
    broken = await notelog.ask("POST", "/notes", data=b"{", headers={"Content-Type": "application/json"})
    problem(broken, 400, "not-json")
    assert notelog.log.head == 0


NO_MATCH = (
    '"2"',
    '"0"',
    '"01"',
    'W/"1"',
    "1",
    "'1'",
    'x"1"',
    '"1',
    '"2", W/"1"',
    "",
    "x*",
    '"a", *',
    '"1"x',
    '"1" "1"',
)
MATCH = ('"1"', '"9", "1"', '"a,b" , "1"', ',"1",', "*")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "restore"])
async def test_conditions(notelog: Running, method: str) -> None:
    """If-Match must name the note's version, in a list or with a star; weak tags and what is no tag never match."""

    async def change(note: dict[str, Any], tag: str) -> Answer:
        path, body = f"/notes/{note['id']}", {"title": "Tea"} if method in ("PUT", "PATCH") else None
        if method == "restore":
            return await notelog.post(f"{path}/restore", If_Match=tag)
        return await notelog.ask(method, path, body, headers={"If-Match": tag})

    note = await notelog.note()
    for tag in NO_MATCH:
        assert problem(await change(note, tag), 412, "precondition-failed")["note"] == note, tag
    assert notelog.log.head == 1
    for tag in MATCH:
        assert (await change(await notelog.note(), tag)).status in (200, 204), tag


async def test_conditions_can_be_required(stopped: Running) -> None:
    """Where If-Match is required a change without it is answered 428; creating needs none."""
    await stopped.start(require_if_match=True)
    await stopped.note()
    problem(await stopped.put("/notes/1", {"title": "Tea"}), 428, "precondition-required")
    problem(await stopped.delete("/notes/1"), 428, "precondition-required")
    problem(await stopped.put("/notes/2", {"title": "Tea"}), 404, "not-found")
    assert (await stopped.put("/notes/1", {"title": "Tea"}, If_Match='"1"')).status == 200
    assert (await stopped.delete("/notes/1", If_Match="*")).status == 204
    problem(await stopped.post("/notes/1/restore"), 428, "precondition-required")


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


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The table of notes stands still until the event is set."""
    apply, go_on = Notes.apply, threading.Event()

    def wait_and_apply(*arguments: Any) -> Any:
        go_on.wait(20)
        return apply(*arguments)

    monkeypatch.setattr(Notes, "apply", wait_and_apply)
    yield go_on
    go_on.set()


async def test_reads_wait_for_writes(notelog: Running, held_up: threading.Event) -> None:
    """A read that comes after a write was answered waits until the table shows it; writes do not wait."""
    await notelog.note()
    reads = [asyncio.create_task(notelog.get(path)) for path in ("/notes/1", "/notes", "/notes/2")]
    await notelog.note()
    assert not any(read.done() for read in reads)
    held_up.set()
    one, all_, other = [await read for read in reads]
    assert (one.status, one.json["id"]) == (200, 1)
    assert 1 in [note["id"] for note in all_.json["notes"]]
    assert all(answer.position >= 1 for answer in (one, all_, other))


async def test_a_table_that_is_behind_too_long(
    notelog: Running, held_up: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read whose table does not come up in time is answered 503, and when to come back; it shows nothing old."""
    monkeypatch.setattr(freshness, "WAIT_S", 0.1)
    await notelog.note()
    for path in ("/notes/1", "/notes"):
        answer = await notelog.get(path)
        problem(answer, 503, "behind")
        assert int(answer.headers["Retry-After"]) > 0
    ready = await notelog.get("/readyz")
    assert ready.json["projections"]["notes"]["lag"] == 1
    held_up.set()
    assert (await notelog.get("/notes/1")).status == 200


async def test_read_your_writes(notelog: Running) -> None:
    """What was answered is there when its writer reads at once, two hundred side by side, alone and in the list."""

    async def write_and_read(number: int) -> None:
        note = await notelog.note(f"number {number}")
        assert (await notelog.get(f"/notes/{note['id']}")).json == note
        changed = (await notelog.patch(f"/notes/{note['id']}", {"priority": number})).json
        listed = await notelog.get(f"/notes?limit=1000&priority={number}")
        assert changed in listed.json["notes"]
        assert listed.position >= changed["position"]
        await notelog.delete(f"/notes/{note['id']}")
        assert (await notelog.get(f"/notes/{note['id']}")).status == 404

    await asyncio.gather(*(write_and_read(number) for number in range(1, 201)))
    assert notelog.log.head == 600


async def test_a_position_to_be_shown_at_least(notelog: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """``Notelog-Min-Position`` makes a read wait for a position; a bad one is refused, one that does not come 503."""
    monkeypatch.setattr(freshness, "WAIT_S", 0.3)
    await notelog.note()
    for path in ("/notes", "/notes/1"):
        assert (await notelog.get(path, Notelog_Min_Position="1")).status == 200
        waiting = asyncio.create_task(notelog.get(path, Notelog_Min_Position=str(notelog.log.head + 1)))
        await notelog.note()
        assert (await waiting).position >= notelog.log.head
        late = await notelog.get(path, Notelog_Min_Position="1000")
        problem(late, 503, "behind")
        assert "Retry-After" in late.headers
        for bad in ("-1", "x", "", "1.0", "9223372036854775808", "9" * 30):
            errors = problem(await notelog.get(path, Notelog_Min_Position=bad), 422, "invalid")["errors"]
            assert errors[0]["pointer"] == "Notelog-Min-Position"


async def test_health(notelog: Running) -> None:
    """``/healthz`` says that the process lives, ``/readyz`` where the log and its projections are."""
    assert (await notelog.get("/healthz")).status == 200
    await notelog.note()
    await notelog.get("/notes/1")
    answer = await notelog.get("/readyz")
    assert answer.status == 200
    assert (answer.json["status"], answer.json["epoch"], answer.json["head"]) == ("ready", notelog.log.epoch, 1)
    notes = answer.json["projections"]["notes"]
    assert notes == {"checkpoint": 1, "lag": 0, "state": "running", "error": None}


async def test_every_answer_says_which_log_it_is_of(notelog: Running) -> None:
    """Answers of every kind, refusals too, carry the log's epoch and the position that they show."""
    await notelog.note()
    answers = [
        await notelog.get("/notes"),
        await notelog.get("/notes?limit=0"),
        await notelog.get("/notes/1"),
        await notelog.get("/notes/1", If_None_Match='"1"'),
        await notelog.get("/notes/9"),
        await notelog.get("/nowhere"),
        await notelog.ask("HEAD", "/notes"),
        await notelog.ask("OPTIONS", "/notes"),
        await notelog.ask("PUT", "/notes"),
        await notelog.put("/notes/1", {"title": "Milk"}),
        await notelog.put("/notes/1", {"title": "Tea"}, If_Match='"7"'),
        await notelog.put("/notes/1", {}),
        await notelog.ask("POST", "/notes", data=b"{", headers={"Content-Type": "text/plain"}),
    ]
    for answer in answers:
        shown(answer, notelog, 1)
