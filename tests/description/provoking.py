"""Brings about every answer that the description names: the good ones as a user, the others for each operation."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

import service.http.freshness
import service.http.requests
from events.record import NewEvent
from service.settings import Secret
from tests.description.described import Description, Json, Operation
from tests.description.recording import Recorder, Recording
from tests.safety.issuer import SECRET, Issuer
from tests.service.running import Answer, Running

# A path in which every parameter has a value that could be right.
VALUES = {"id": "1", "position": "1", "tile": "0/000.p/1", "slug": "invalid", "file": "docs.js"}
# And one with which nothing is found.
ABSENT = {"id": "999", "position": "999", "tile": "0/999", "slug": "none", "file": "none.js"}
BODIES: dict[str, Json] = {
    "POST /notes": {"title": "Milk"},
    "PUT /notes/{id}": {"title": "Oats"},
    "PATCH /notes/{id}": {"title": "Rye"},
    "POST /notes/{id}/revert": {"version": 1},
}


async def record(folder: Path) -> Recording:
    """Everything that can be seen of the service, under each setting that changes what it answers."""
    recording = Recording()
    with pytest.MonkeyPatch.context() as patch:
        recording.watch(patch)
        for number, stage in enumerate((use, break_rules, use_tokens, use_too_often, leave_out_if_match, stop_tables)):
            running = Running(folder / str(number), patch)
            try:
                await stage(Recorder(recording, running))
            finally:
                await running.stop()
    return recording


async def use(recorder: Recorder) -> None:
    """Everything that works."""
    await recorder.running.start()
    recorder.recording.description = Description((await recorder.running.get("/openapi.json")).json)
    await _use_notes(recorder)
    await _use_the_past(recorder)
    for path in ("/metrics", "/healthz", "/readyz", "/problems/invalid", "/openapi.json", "/asyncapi.json"):
        await recorder.ask("GET", path)
    for path in ("/docs", "/docs/docs.js", "/docs/docs.css", "/", "/dashboard/dashboard.js", "/favicon.ico"):
        await recorder.ask("GET", path, headers={"If-None-Match": (await recorder.ask("GET", path)).etag})
    async with recorder.running.session.ws_connect(recorder.running.url + "/ws") as socket:
        recorder.recording.add("GET", "/ws", Answer(101, socket._response.headers, b""))


async def _use_notes(recorder: Recorder) -> None:
    everything = {"title": "Oats", "description": "Rolled", "created_at": "2017-08-23 00:00", "created_by": "Bob"}
    await _twice(recorder, "POST", "/notes", {"title": "Milk", "created_by": "Ada"})
    await recorder.ask("POST", "/notes", {"title": "Bread"})
    await _twice(recorder, "PUT", "/notes/1", {**everything, "priority": 3})
    await _twice(recorder, "PATCH", "/notes/1", {"priority": 7})
    await _twice(recorder, "DELETE", "/notes/1", None)
    await recorder.ask("GET", "/notes/1")
    await _twice(recorder, "POST", "/notes/1/revert", {"version": 1})
    await recorder.ask("DELETE", "/notes/1")
    await _twice(recorder, "POST", "/notes/1/restore", None)
    note = await recorder.ask("GET", "/notes/1")
    await recorder.ask("GET", "/notes/1", headers={"If-None-Match": note.etag})
    notes = await recorder.ask("GET", "/notes?limit=1&count=true&as_of=2")
    await recorder.ask("GET", "/notes?limit=1&count=true&as_of=2", headers={"If-None-Match": notes.etag})
    await recorder.ask("GET", "/notes?limit=1", headers={"If-None-Match": "*"})


async def _use_the_past(recorder: Recorder) -> None:
    await recorder.ask("GET", "/notes/1/history?limit=1")
    await recorder.ask("GET", "/events")
    await recorder.ask("GET", "/events?limit=1")
    await recorder.ask("GET", "/events", headers={"Accept": "application/x-ndjson"})
    for position in range(1, recorder.running.log.head + 1):
        await recorder.ask("GET", f"/events/{position}")
    for path in ("key", "proof/1", "checkpoint", "tile/0/000.p/1", "tile/entries/000.p/1"):
        await recorder.ask("GET", f"/tlog/{path}")


async def _twice(recorder: Recorder, method: str, path: str, body: Any) -> None:
    """A change, and the same again under its key."""
    for _ in range(2):
        await recorder.ask(method, path, body, headers={"Idempotency-Key": f"{method} {path}".replace(" ", "-")})


async def break_rules(recorder: Recorder) -> None:
    """Everything that is refused whatever the settings."""
    await recorder.running.start()
    await recorder.running.note("Milk")
    with pytest.MonkeyPatch.context() as patch:
        # Waits that are promised to end are not waited for as long as that.
        patch.setattr(service.http.freshness, "WAIT_S", 0.2)
        patch.setattr(service.http.requests, "BODY_TIMEOUT_S", 0.2)
        await _break_rules(recorder)


async def _break_rules(recorder: Recorder) -> None:
    for operation, _ in recorder.recording.description.operations():
        ask = _asking(recorder, operation)
        path, absent = operation.path.format(**VALUES), operation.path.format(**ABSENT)
        await _make_changeable(recorder.running, operation)
        await ask(f"{path}?no_such_parameter=1")
        await ask(path, headers={"Filler": "x" * 20_000})
        await ask(path, headers={"Origin": "https://elsewhere.example"})
        if absent != path:
            await ask(absent)
        headers = recorder.recording.description.parameters(operation, "header")
        if "Notelog-Min-Position" in headers:
            await ask(path, headers={"Notelog-Min-Position": "1000"})
        if "If-Match" in headers:
            await ask(path, headers={"If-Match": '"999"'})
        if "Idempotency-Key" in headers:
            await ask(path, headers={"Idempotency-Key": str(operation).replace(" ", "-")})
            await ask(path, headers={"Idempotency-Key": str(operation).replace(" ", "-"), "If-Match": "*"})
        if operation.method != "GET":
            await _send_bad_bodies(recorder, operation, path)


async def _make_changeable(running: Running, operation: Operation) -> None:
    """The note is there, and the operation would change it."""
    await running.post("/notes/1/restore")
    await running.put("/notes/1", {"title": f"before {operation}"})
    if operation.path.endswith("restore"):
        await running.delete("/notes/1")


async def _send_bad_bodies(recorder: Recorder, operation: Operation, path: str) -> None:
    for body, media_type in (
        (BytesIO(b"x" * (service.http.requests.BODY_BYTES_MAX + 1)), "application/json"),
        (_slow_body(), "application/json"),
        (b"{", "application/json"),
        (b"{}", "text/plain"),
        (b'{"title": 1, "version": 0}', "application/json"),
    ):
        await recorder.ask(operation.method, path, data=body, headers={"Content-Type": media_type})


async def _slow_body() -> AsyncIterator[bytes]:
    yield b"{"
    await asyncio.get_running_loop().create_future()  # the rest never comes


async def use_tokens(recorder: Recorder) -> None:
    """What is refused for want of a token, or of its scope."""
    await recorder.running.start(auth_secret=Secret(SECRET))
    powerless = f"Bearer {Issuer().token('', shared=True, iss=None, aud=None)}"
    for operation, _ in recorder.recording.description.operations():
        for token in ("Bearer none", powerless):
            await _asking(recorder, operation)(operation.path.format(**VALUES), headers={"Authorization": token})


async def use_too_often(recorder: Recorder) -> None:
    """What is refused because there were too many requests."""
    await recorder.running.start(rate_limit="1/hour")
    await recorder.running.get("/notes")
    await _ask_everything(recorder)


async def leave_out_if_match(recorder: Recorder) -> None:
    """What is refused without If-Match where it is required."""
    await recorder.running.start(require_if_match=True)
    await recorder.running.note()
    await _ask_everything(recorder)


async def stop_tables(recorder: Recorder) -> None:
    """What is answered when the log has an event that this version does not know."""
    await recorder.running.start()
    await recorder.running.note()
    await recorder.running.log.append(NewEvent(1, "NoteMoved", 9, "somebody", "{}"), 1)
    await recorder.ask("GET", "/events/2")
    await _ask_everything(recorder)


async def _ask_everything(recorder: Recorder) -> None:
    for operation, _ in recorder.recording.description.operations():
        await _asking(recorder, operation)(operation.path.format(**VALUES))


def _asking(recorder: Recorder, operation: Operation) -> Callable[..., Awaitable[Answer]]:
    """Ask for the operation, with a body that would do."""

    async def ask(path: str, **options: Any) -> Answer:
        return await recorder.ask(operation.method, path, BODIES.get(str(operation)), **options)

    return ask
