"""What the service really reads and answers: each answer over a real socket, kept with the operation it belongs to."""

import json
from typing import Any

import pytest
from aiohttp import web
from aiohttp.web_request import BaseRequest
from msgspec import Struct
from multidict import CIMultiDict, CIMultiDictProxy

import service.app
from tests.description.described import Description, Operation, bare
from tests.service.running import Answer, Running


class Exchange(Struct, frozen=True):
    """One answer."""

    operation: Operation
    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def media_type(self) -> str | None:
        """The Content-Type without its parameters; None without a body."""
        return self.headers["Content-Type"].partition(";")[0] if self.body else None

    @property
    def values(self) -> list[Any]:
        """The JSON of the body, or of each of its lines; of another media type, nothing."""
        if self.media_type == "application/x-ndjson":
            return [json.loads(line) for line in self.body.splitlines()]
        return [json.loads(self.body)] if (self.media_type or "").endswith("json") else []

    @property
    def kind_of_problem(self) -> str | None:
        """The last part of the problem's type."""
        is_problem = self.media_type == "application/problem+json"
        return str(self.values[0]["type"]).rpartition("/")[2] if is_problem else None


class Recording:
    """Everything that was seen. ``read``: the names of the headers that each operation looks at."""

    def __init__(self) -> None:
        self.description: Description
        self.exchanges: list[Exchange] = []
        self.read: dict[Operation, set[str]] = {}
        self._router: web.UrlDispatcher

    @property
    def served(self) -> set[Operation]:
        """What the router serves. A HEAD goes with each GET."""
        return {_operation(route) for route in self._router.routes() if route.method != "HEAD"}

    def of(self, operation: Operation, status: int) -> list[Exchange]:
        """The answers of an operation with a status."""
        return [one for one in self.exchanges if one.operation == operation and one.status == status]

    def add(self, method: str, path: str, answer: Answer) -> None:
        """Keep an answer, if its operation is described."""
        operation = self.description.operation(method, path.partition("?")[0])
        if operation is not None:
            self.exchanges.append(Exchange(operation, answer.status, CIMultiDict(answer.headers), answer.body))

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """From now on, note which headers are looked at, and which routes are served."""
        add_routes = service.app.add_routes

        def add_and_note(router: web.UrlDispatcher, *rest: Any) -> None:
            add_routes(router, *rest)
            self._router = router

        patch.setattr(BaseRequest, "headers", property(lambda request: _Watched(request, self)))
        patch.setattr(service.app, "add_routes", add_and_note)


class Recorder:
    """Asks a running service, and keeps what it answers."""

    def __init__(self, recording: Recording, running: Running) -> None:
        self.recording = recording
        self.running = running

    async def ask(self, method: str, path: str, json: Any = None, **options: Any) -> Answer:
        """One request, as ``Running.ask``."""
        answer = await self.running.ask(method, path, json, **options)
        self.recording.add(method, path, answer)
        return answer


class _Watched:
    """A request's headers; which are looked at is noted."""

    def __init__(self, request: BaseRequest, recording: Recording) -> None:
        self._headers: CIMultiDictProxy[str] = request._headers
        self._request = request
        self._recording = recording

    def get(self, name: str, default: Any = None) -> Any:
        self._note(name)
        return self._headers.get(name, default)

    def getall(self, name: str, *default: Any) -> Any:
        self._note(name)
        return self._headers.getall(name, *default)

    def __getitem__(self, name: str) -> str:
        self._note(name)
        return self._headers[name]

    def __contains__(self, name: str) -> bool:
        self._note(name)
        return name in self._headers

    def _note(self, name: str) -> None:
        match = self._request.match_info if isinstance(self._request, web.Request) else None
        if match is not None and match.route.resource is not None:
            operation = Operation(self._request.method, bare(match.route.resource.canonical))
            self._recording.read.setdefault(operation, set()).add(str(name).lower())


def _operation(route: web.AbstractRoute) -> Operation:
    assert route.resource is not None
    return Operation(route.method, bare(route.resource.canonical))
