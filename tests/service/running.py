"""The service as it is served, in this process: on a real socket and a real folder, started as often as wanted."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

import service.app
from events.folder import DataFolder
from events.log import EventLog
from service.server import serving
from service.settings import Settings
from tests.service_log import settings_for

# Far more than anything here takes: only what hangs meets it.
WITHIN_S = 20.0
POLL_S = 0.005


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer, read whole."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which must be JSON."""
        return json.loads(self.body)

    @property
    def etag(self) -> str:
        """The header ETag."""
        return str(self.headers["ETag"])

    @property
    def position(self) -> int:
        """The header Notelog-Position."""
        return int(self.headers["Notelog-Position"])


class Running:
    """A service on one data folder. ``log`` is the log that it has open."""

    def __init__(self, data: Path, patch: pytest.MonkeyPatch) -> None:
        self.data = data
        self.url = ""
        self.log: EventLog
        self.session: aiohttp.ClientSession
        self._settings: dict[str, Any] = dict(settings_for(data))
        self._stack: AsyncExitStack | None = None
        open_log = service.app.open_log

        async def open_and_show(settings: Settings, folder: DataFolder) -> EventLog:
            self.log = await open_log(settings, folder)
            return self.log

        patch.setattr(service.app, "open_log", open_and_show)

    async def start(self, **settings: Any) -> None:
        """Serve on a free port, under the settings of the last start and these."""
        self._settings |= settings
        async with AsyncExitStack() as stack:
            self.url = await stack.enter_async_context(serving(Settings(data=self.data, port=0, **self._settings)))
            await asyncio.wait_for(self.log.caught_up(), WITHIN_S)
            self.session = await stack.enter_async_context(
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
            )
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Stop as on SIGTERM. Of a service that is stopped: nothing."""
        stack, self._stack = self._stack, None
        if stack is not None:
            async with asyncio.timeout(WITHIN_S):
                await stack.aclose()

    async def restart(self) -> None:
        """Stop, and start again on the same folder."""
        await self.stop()
        await self.start()

    async def ask(self, method: str, path: str, json: Any = None, **options: Any) -> Answer:
        """One request. ``json`` is sent as the body; everything else goes to aiohttp."""
        if json is not None:
            options["json"] = json
        async with asyncio.timeout(WITHIN_S):
            async with self.session.request(method, self.url + path, **options) as response:
                return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **headers: str) -> Answer:
        """GET a path. Underscores in the names of headers stand for hyphens."""
        return await self.ask("GET", path, headers=_named(headers))

    async def post(self, path: str = "/notes", json: Any = None, **headers: str) -> Answer:
        """POST a body."""
        return await self.ask("POST", path, json, headers=_named(headers))

    async def put(self, path: str, json: Any, **headers: str) -> Answer:
        """PUT a body."""
        return await self.ask("PUT", path, json, headers=_named(headers))

    async def patch(self, path: str, json: Any, **headers: str) -> Answer:
        """PATCH a body."""
        return await self.ask("PATCH", path, json, headers=_named(headers))

    async def delete(self, path: str, **headers: str) -> Answer:
        """DELETE a path."""
        return await self.ask("DELETE", path, headers=_named(headers))

    async def note(self, title: str = "Milk", **fields: Any) -> dict[str, Any]:
        """A new note, as it was answered."""
        answer = await self.post(json={"title": title, **fields})
        assert answer.status == 201, answer.body
        return dict(answer.json)

    async def all_notes(self, limit: int = 1000) -> list[dict[str, Any]]:
        """Every note that ``GET /notes`` lists, page after page."""
        notes: list[dict[str, Any]] = []
        path: str | None = f"/notes?limit={limit}"
        while path:
            page = (await self.get(path)).json
            notes += page["notes"]
            path = page["next"]
        return notes

    async def is_stopped(self, name: str | None = None) -> bool:
        """Whether the service says that it is not ready because a projection (of that name, or any) stands still."""
        answer = await self.get("/readyz")
        stopped = {its_name for its_name, found in answer.json["projections"].items() if found["state"] == "stopped"}
        return answer.status == 503 and (bool(stopped) if name is None else name in stopped)

    async def has_caught_up(self) -> bool:
        """Whether every projection is at the head."""
        report = (await self.get("/readyz")).json
        return all(projection["lag"] == 0 for projection in report["projections"].values())

    async def raw(self, request: bytes) -> bytes:
        """Send bytes as they are, and read all that comes back until the service closes or a second is silent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.url.rsplit(":", 1)[1]))
        writer.write(request)
        answer = b""
        try:
            while chunk := await asyncio.wait_for(reader.read(65536), 1.0):
                answer += chunk
        except (TimeoutError, ConnectionError):
            pass
        finally:
            writer.close()
        return answer


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


async def until(holds: Callable[[], bool | Awaitable[bool]], what: str, within_s: float = WITHIN_S) -> None:
    """Poll until something holds; fails, saying ``what`` was waited for, when it does not come about."""
    deadline = time.monotonic() + within_s
    while not (answer if isinstance(answer := holds(), bool) else await answer):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        await asyncio.sleep(POLL_S)


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
