"""REST over a real socket: what each request is answered with, status, headers and body."""

import json
import re

from tests.service.running import Running, problem, shown

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


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
    lines = [("If-None-Match", '"7"'), ("If-None-Match", '"1"')]
    for path in ("/notes/1", "/notes/1?version=1"):
        assert (await notelog.ask("GET", path, headers=lines)).status == 304, path
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
