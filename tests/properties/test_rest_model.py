"""REST and a plain model side by side: whatever is asked, in any order, with restarts and repeats in between."""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.service.running import Answer, Running

CONTENT = ("title", "description", "created_at", "created_by", "priority")
# What a client says of a time, and what it is told of it.
TIMES = {"2017-08-23 00:00": "2017-08-23T00:00:00Z", "2017-08-23T02:00:00.5+02:00": "2017-08-23T00:00:00.5Z"}

good = st.fixed_dictionaries(
    {"title": st.sampled_from(["a", "b"])},
    optional={
        "description": st.sampled_from(["", "long"]),
        "created_at": st.sampled_from(sorted(TIMES)),
        "created_by": st.sampled_from(["", "ada"]),
        "priority": st.sampled_from([0, 1, -1]),
        "version": st.just("ignored"),
    },
)
bad = st.sampled_from([{}, {"title": ""}, {"title": "a", "colour": 1}, {"title": "a", "priority": 2**31}, []])
bodies = st.one_of(good, good, good, bad)
patches = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "title": st.sampled_from(["a", "b"]),
            "description": st.sampled_from(["", "long", None]),
            "created_by": st.sampled_from(["", "ada"]),
            "priority": st.sampled_from([0, 1, None]),
        },
    ),
    st.sampled_from([{"title": None}, {"created_at": "soon"}]),
)
ids = st.integers(1, 4)
conditions = st.sampled_from(["", "", "now", "now", "before", "*", "rubbish"])
keys = st.sampled_from(["", "", "k1", "k2", "k3"])


@dataclass(frozen=True)
class Request:
    """A change that is asked for. ``body`` None: there is none."""

    method: str
    path: str
    body: Any = None
    if_match: str = ""
    key: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """Its headers."""
        return {name: text for name, text in (("If-Match", self.if_match), ("Idempotency-Key", self.key)) if text}


@dataclass
class Note:
    """A note in the model: its content at each version, None where it was deleted, and its position."""

    past: list[dict[str, Any] | None]
    last: dict[str, Any]
    position: int

    @property
    def version(self) -> int:
        """The version that it is at."""
        return len(self.past)

    @property
    def deleted(self) -> bool:
        """Whether it is gone."""
        return self.past[-1] is None


@dataclass
class Model:
    """What the service must do: the notes, the head, and what was answered under each key."""

    notes: dict[int, Note] = field(default_factory=dict)
    head: int = 0
    answered: dict[str, tuple[Request, Answer]] = field(default_factory=dict)

    def judge(self, request: Request) -> tuple[int, dict[str, Any] | None]:
        """The status that the request must get, and the note's new content; None where nothing is appended."""
        if request.path == "/notes":
            return (201, with_defaults(request.body)) if is_good(request) else (422, None)
        id_, _, verb = request.path.removeprefix("/notes/").partition("/")
        note = self.notes.get(int(id_))
        if not is_good(request):
            return 422, None
        if note is None or (note.deleted and verb != "restore"):
            return 404, None
        if request.if_match not in ("", "*", f'"{note.version}"'):
            return 412, None
        if request.method == "DELETE":
            return 204, {}
        wanted = note.last | self.wanted(request, note)
        return 200, wanted if wanted != note.last or note.deleted else None

    def wanted(self, request: Request, note: Note) -> dict[str, Any]:
        """The fields that the request gives values to."""
        if request.method == "POST":
            return {}
        if request.method == "PUT":
            given = {name: note.last[name] for name in ("created_at", "created_by")} | request.body
            return with_defaults(given)
        defaults = {"description": "", "priority": 0}
        return {name: defaults[name] if value is None else value for name, value in request.body.items()}

    def append(self, id_: int, content: dict[str, Any]) -> None:
        """The note has changed; empty content: it was deleted."""
        self.head += 1
        note = self.notes.setdefault(id_, Note([], {}, 0))
        note.past.append(content or None)
        note.last = content or note.last
        note.position = self.head


def with_defaults(body: dict[str, Any]) -> dict[str, Any]:
    """A whole note's content, as it is answered; ``created_at`` None: whenever that was."""
    defaults = {"description": "", "created_at": None, "created_by": "anonymous", "priority": 0}
    content = {name: value for name, value in (defaults | body).items() if name in CONTENT}
    return content | {"created_at": TIMES.get(content["created_at"], content["created_at"])}


def is_good(request: Request) -> bool:
    """Whether the body fits."""
    if request.method in ("DELETE",) or request.path.endswith("/restore"):
        return True
    if request.method == "PATCH":
        return request.body.get("title", "a") is not None and "created_at" not in request.body
    return (
        isinstance(request.body, dict)
        and bool(request.body.get("title"))
        and request.body
        not in [
            {"title": "a", "colour": 1},
            {"title": "a", "priority": 2**31},
        ]
    )


class RestAndModel(RuleBasedStateMachine):
    """Asks both, and compares."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.patch = pytest.MonkeyPatch()
        self.folder = Path(tempfile.mkdtemp(prefix="notelog-"))
        self.notelog = Running(self.folder / "data", self.patch)
        self.model = Model()
        self.loop.run(self.notelog.start())

    def teardown(self) -> None:
        """Stop, and leave nothing behind."""
        self.loop.run(self.notelog.stop())
        self.loop.close()
        self.patch.undo()
        shutil.rmtree(self.folder)

    @rule(body=bodies, key=keys)
    def create(self, body: Any, key: str) -> None:
        """Make a note."""
        self.change(Request("POST", "/notes", body, "", key))

    @rule(id_=ids, body=bodies, condition=conditions, key=keys)
    def replace(self, id_: int, body: Any, condition: str, key: str) -> None:
        """Replace a note."""
        self.change(Request("PUT", f"/notes/{id_}", body, self.if_match(id_, condition), key))

    @rule(id_=ids, body=patches, condition=conditions, key=keys)
    def patch_note(self, id_: int, body: Any, condition: str, key: str) -> None:
        """Patch a note."""
        self.change(Request("PATCH", f"/notes/{id_}", body, self.if_match(id_, condition), key))

    @rule(id_=ids, condition=conditions, key=keys)
    def delete(self, id_: int, condition: str, key: str) -> None:
        """Delete a note."""
        self.change(Request("DELETE", f"/notes/{id_}", None, self.if_match(id_, condition), key))

    @rule(id_=ids, condition=conditions, key=keys)
    def restore(self, id_: int, condition: str, key: str) -> None:
        """Bring a note back."""
        self.change(Request("POST", f"/notes/{id_}/restore", None, self.if_match(id_, condition), key))

    @precondition(lambda self: self.model.answered)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Send a request that was answered before once more, perhaps many times at once."""
        request, _ = data.draw(st.sampled_from(list(self.model.answered.values())))
        for answer in self.loop.run(self.at_once(request, data.draw(st.integers(1, 3)))):
            self.compare_repeat(request, answer)

    @rule()
    def restart(self) -> None:
        """Stop and start again."""
        self.loop.run(self.notelog.restart())

    @rule(id_=ids)
    def read(self, id_: int) -> None:
        """Read a note."""
        answer = self.loop.run(self.notelog.get(f"/notes/{id_}"))
        note = self.model.notes.get(id_)
        if note is None or note.deleted:
            assert answer.status == 404
            assert ("deleted_at" in answer.json) == (note is not None)
        else:
            assert answer.status == 200
            assert answer.etag == f'"{note.version}"'
            self.compare_note(answer.json, id_)

    @invariant()
    def the_lists_are_equal(self) -> None:
        """The list is the model's, and the log has as many events as the model has appended."""
        assert self.notelog.log.head == self.model.head
        listed = self.loop.run(self.notelog.all_notes())
        assert [note["id"] for note in listed] == sorted(id_ for id_, n in self.model.notes.items() if not n.deleted)
        for note in listed:
            self.compare_note(note, note["id"])

    def if_match(self, id_: int, condition: str) -> str:
        """The header for a kind of condition."""
        version = self.model.notes[id_].version if id_ in self.model.notes else 1
        return {"now": f'"{version}"', "before": f'"{version - 1}"', "rubbish": "rubbish"}.get(condition, condition)

    def change(self, request: Request) -> None:
        """Ask for a change, and see that the answer is the model's."""
        (answer,) = self.loop.run(self.at_once(request, 1))
        if request.key in self.model.answered:
            self.compare_repeat(request, answer)
            return
        status, content = self.model.judge(request)
        assert answer.status == status, (request, answer)
        assert "Idempotency-Replayed" not in answer.headers
        if content is not None:
            id_ = len(self.model.notes) + 1 if status == 201 else int(request.path.split("/")[2])
            if content and content["created_at"] is None:
                content["created_at"] = answer.json["created_at"]
            self.model.append(id_, content)
            assert answer.position == self.model.head
            if request.key:
                self.model.answered[request.key] = (request, answer)
        if status in (200, 201):
            self.compare_note(answer.json, answer.json["id"])

    def compare_repeat(self, request: Request, answer: Answer) -> None:
        """A key that was used gives the first answer to the first request, and refuses any other."""
        first, told = self.model.answered[request.key]
        if request != first:
            assert (answer.status, answer.json["type"]) == (422, "/problems/key-reused"), (request, first)
            return
        assert answer.headers["Idempotency-Replayed"] == "true"
        assert (answer.status, answer.body) == (told.status, told.body)
        for name in ("ETag", "Location", "Notelog-Position"):
            assert answer.headers.get(name) == told.headers.get(name)

    def compare_note(self, shown: dict[str, Any], id_: int) -> None:
        """A note as it is shown is the model's."""
        note = self.model.notes[id_]
        assert {name: shown[name] for name in CONTENT} == note.last
        assert (shown["id"], shown["version"], shown["position"]) == (id_, note.version, note.position)

    async def at_once(self, request: Request, times: int) -> list[Answer]:
        """Send a request, so many times at once."""
        return list(
            await asyncio.gather(
                *(
                    self.notelog.ask(request.method, request.path, request.body, headers=request.headers)
                    for _ in range(times)
                )
            )
        )


TestRestAndModel = RestAndModel.TestCase
TestRestAndModel.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
