"""Concurrent clients on a few notes, who write down what they asked, when, and what they were told."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.faults.process import Server
from tests.safety.history import NEVER, Operation, Outcome
from tests.safety.raw import address

WITHIN_S = 20.0
PAUSE_S = 0.01
# What a client may be answered: everything else is a defect.
EXPECTED = {200, 201, 204, 404, 412, 503}


class Broke(Exception):
    """The connection ended before the answer: the outcome is unknown."""


async def without_hidden_retries(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """aiohttp sends some requests again by itself; here each sending counts."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise Broke from error


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    title: str | None = None
    key: str | None = None
    if_match: str | None = None
    cut: bool = False  # the first time it is sent, the client does not wait for the answer

    @property
    def headers(self) -> dict[str, str]:
        type_ = "application/json" if self.title else None
        headers = {"Idempotency-Key": self.key, "If-Match": self.if_match, "Content-Type": type_}
        return {name: value for name, value in headers.items() if value is not None}

    @property
    def body(self) -> bytes:
        return json.dumps({"title": self.title}).encode() if self.title else b""

    @property
    def note_id(self) -> int | None:
        return None if self.path == "/notes" else int(self.path.split("/")[2])


class Recorder:
    """Clients at work for as long as the block lasts; afterwards ``operations`` is the history."""

    def __init__(self, server: Server, seed: int, clients: int = 8, notes: int = 4) -> None:
        self.operations: list[Operation] = []
        self.oddities: list[str] = []
        self._server = server
        self._seed = seed
        self._clients = clients
        self._notes = notes
        self._numbers = itertools.count(1)
        self._stopping = False

    @asynccontextmanager
    async def working(self) -> AsyncIterator[Recorder]:
        """Make the notes, work on them, and at the end wait for what is under way."""
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=WITHIN_S), middlewares=[without_hidden_retries]
        ) as self._session:
            for number in range(self._notes):
                await self._operate(0, _Request("POST", "/notes", self._title(), f"first-{number}"))
            tasks = [asyncio.create_task(self._work(client)) for client in range(1, self._clients + 1)]
            try:
                yield self
            finally:
                self._stopping = True
                await asyncio.gather(*tasks)

    async def _work(self, client: int) -> None:
        dice = random.Random(f"{self._seed} client {client}")
        while not self._stopping:
            if self._server.up.is_set():
                await self._operate(client, self._plan(dice))
            else:
                await asyncio.sleep(PAUSE_S)

    def _plan(self, dice: random.Random) -> _Request:
        path, choice = f"/notes/{dice.randint(1, self._notes)}", dice.random()
        if choice < 0.4:
            return _Request("GET", path)
        key = f"key-{next(self._numbers)}" if dice.random() < 0.6 else None
        if_match = f'"{dice.randint(1, 60)}"' if dice.random() < 0.2 else None
        cut = dice.random() < 0.15
        if choice < 0.85:
            return _Request(dice.choice(["PATCH", "PUT"]), path, self._title(), key, if_match, cut)
        if choice < 0.9:
            return _Request("DELETE", path, None, key, if_match, cut)
        return _Request("POST", path + "/restore", None, key, None, cut)

    def _title(self) -> str:
        return f"title {next(self._numbers)}"

    async def _operate(self, client: int, request: _Request) -> None:
        """One operation, sent again under its key until its outcome is known; without a key it may stay unknown."""
        asked_ns = time.monotonic_ns()
        if request.cut:
            with suppress(OSError):
                await self._send_and_go(request)
        answer = None if request.cut and not request.key else await self._ask(request)
        while answer is None and request.key and not self._stopping:
            await asyncio.sleep(PAUSE_S)
            answer = await self._ask(request) if self._server.up.is_set() else None
        self.operations.append(_operation(client, asked_ns, request, answer))

    async def _ask(self, request: _Request) -> _Answer | None:
        """The answer, or None when the outcome is unknown."""
        try:
            async with self._session.request(
                request.method, self._server.url + request.path, headers=request.headers, data=request.body or None
            ) as response:
                text = await response.read()
        except aiohttp.InvalidURL:
            return None  # between a kill and the next start there is no URL
        except (Broke, aiohttp.ClientError, TimeoutError):
            return None
        if response.status not in EXPECTED:
            self.oddities.append(f"{request}: {response.status} {text[:300]!r}")
        if response.status == 503:
            return None
        return _Answer(response.status, dict(response.headers), json.loads(text) if text else {}, time.monotonic_ns())

    async def _send_and_go(self, request: _Request) -> None:
        """Send all of it, and be gone before the answer comes, or while it comes."""
        if not self._server.up.is_set():
            return
        _, writer = await asyncio.open_connection(*address(self._server.url))
        lines = [f"{request.method} {request.path} HTTP/1.1", "Host: a", f"Content-Length: {len(request.body)}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + request.body)
        await writer.drain()
        await asyncio.sleep(random.random() * 0.01)
        writer.transport.abort()


class _Answer:
    def __init__(self, status: int, headers: dict[str, str], body: dict[str, Any], at_ns: int) -> None:
        self.status, self.body, self.at_ns = status, body, at_ns
        self.position = int(headers["Notelog-Position"]) if "Notelog-Position" in headers else None


def _operation(client: int, asked_ns: int, request: _Request, answer: _Answer | None) -> Operation:
    writes, note_id, title = request.method != "GET", request.note_id, request.title
    if answer is None:
        return Operation(client, asked_ns, NEVER, Outcome.UNKNOWN, writes, note_id, title)
    known = (client, asked_ns, answer.at_ns)
    if answer.status == 404:
        return Operation(*known, Outcome.REFUSED, writes, note_id, title, absent=True)
    if answer.status == 412:
        note = answer.body["note"]
        return Operation(*known, Outcome.REFUSED, writes, note_id, title, seen=note["version"], title=note["title"])
    note = answer.body
    if not writes or request.path.endswith("/restore"):  # of several that restore, nobody can tell which one did
        position = None if writes else answer.position
        return Operation(*known, Outcome.OK, False, note_id, None, position, seen=note["version"], title=note["title"])
    return Operation(*known, Outcome.OK, True, note.get("id", note_id), title, answer.position, note.get("version"))
