"""Concurrent clients that create, change and delete notes, and write down every answer they get."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from functools import partial
from types import TracebackType
from typing import Any

import aiohttp

from .answers import Answer, Request, Verdict
from .checker import deletion_of
from .process import Server, until

# What each kind of request may be answered beside 503: the rest is a defect, of the service or of this harness.
EXPECTED = {"create": {201}, "patch": {200, 404, 412}, "delete": {204, 404}}
# A client that was refused comes back at its own pace, not at that of Retry-After: a fault is short here.
PAUSE_S = 0.02
ANSWER_WITHIN_S = 20.0
STOP_WITHIN_S = 30.0
DESCRIPTION_CHARACTERS_MAX = 3_000

_numbers = itertools.count(1)  # markers and keys are unlike in the whole test run


class ConnectionBroke(Exception):
    """The connection ended between the request and its answer: the outcome is unknown."""


async def without_hidden_retries(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """aiohttp sends a PUT or DELETE again by itself when the connection breaks; a ledger must see both sendings."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise ConnectionBroke(repr(error)) from error


class Load:
    """Clients at work for as long as the `async with` block lasts; afterwards `requests` is the ledger.

    A client whose keyed request has an unknown outcome sends it again, until it is told. `oddities` collects
    answers that the interface does not allow. Leaving the block waits for the requests under way; a client
    that still has no answer after STOP_WITHIN_S is cancelled, which leaves its request unknown.
    """

    def __init__(self, server: Server, seed: int, clients: int = 8) -> None:
        self.requests: list[Request] = []
        self.oddities: list[str] = []
        self.ok = 0
        self.refusals = 0
        self._server = server
        self._seed = seed
        self.clients = clients
        self._shared: list[int] = []  # notes that any client may change
        self._epoch: str | None = None
        self._stopping = False

    async def __aenter__(self) -> Load:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=ANSWER_WITHIN_S), middlewares=[without_hidden_retries]
        )
        self._stopping = False
        self._tasks = [asyncio.create_task(self._work(number)) for number in range(self.clients)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        _, late = await asyncio.wait(self._tasks, timeout=STOP_WITHIN_S)
        for task in late:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()
        failed = [result for result in results if isinstance(result, Exception)]
        if failed and error is None:
            raise failed[0]

    async def answered(self, more: int, within_s: float = 30.0) -> None:
        """Wait until this many more requests were answered 2xx. Raises NotInTime."""
        goal = self.ok + more
        await until(lambda: self.ok >= goal, within_s, f"{more} more answers")

    async def refused(self, more: int, within_s: float = 30.0) -> None:
        """Wait until this many more sendings were answered that nothing came of them (503). Raises NotInTime.

        On a full disk the room inside the files may last a while. Sendings, not requests: where the outcome of all the
        keyed requests under way is unknown, their repeats are all that is sent.
        """
        goal = self.refusals + more
        await until(lambda: self.refusals >= goal, within_s, f"{more} more writes are refused")

    def of(self, verdict: Verdict) -> list[Request]:
        """The requests of which this is known."""
        return [request for request in self.requests if request.verdict is verdict]

    async def settle(self, within_s: float = 30.0) -> int:
        """After the block: send what is unknown and has a key again, until it is told. How many these were."""
        unknown = [request for request in self.of(Verdict.UNKNOWN) if request.key]
        async with aiohttp.ClientSession(middlewares=[without_hidden_retries]) as self._session:
            for request in unknown:
                await until(partial(self._is_told, request), within_s, f"{request.marker!r} is told its outcome")
        return len(unknown)

    async def replay(self, count: int) -> list[str]:
        """After the block: send answered requests again under their keys; what differs from the first answer."""
        keyed = [request for request in self.of(Verdict.OK) if request.key]
        chosen = random.Random(self._seed).sample(keyed, min(count, len(keyed)))
        async with aiohttp.ClientSession(middlewares=[without_hidden_retries]) as self._session:
            for request in chosen:
                await self._send(request)
        return [why for request in chosen for why in _unlike(request, request.first_ok, request.answers[-1])]

    async def _work(self, number: int) -> None:
        dice = random.Random(f"{self._seed} client {number}")
        own: list[int] = []
        while not self._stopping:
            if not self._server.up.is_set():
                await asyncio.sleep(PAUSE_S)
                continue
            request = self._plan(dice, own)
            self.requests.append(request)
            await self._send(request)
            if request.key:
                await self._until_told(request)
            if request.kind == "create" and request.verdict is Verdict.OK:
                own.append(request.first_ok.note_id)
                self._shared.append(request.first_ok.note_id)

    async def _is_told(self, request: Request) -> bool:
        await self._send(request)
        return request.verdict is not Verdict.UNKNOWN

    async def _until_told(self, request: Request) -> None:
        while request.verdict is Verdict.UNKNOWN and not self._stopping:
            await asyncio.sleep(PAUSE_S)
            if self._server.up.is_set():
                await self._send(request)

    def _plan(self, dice: random.Random, own: list[int]) -> Request:
        """Half creations, some changes of shared notes (with no, a fitting or a stale If-Match), a few deletions."""
        number, choice = next(_numbers), dice.random()
        key = f"key-{number}" if dice.random() < 0.5 else None
        marker = f"title {number}"
        body = {
            "title": marker,
            "priority": dice.randrange(-9, 10),
            "description": "x" * dice.randrange(DESCRIPTION_CHARACTERS_MAX) if dice.random() < 0.2 else "",
        }
        if choice < 0.5 or not own:
            return Request(marker, "create", "POST", "/notes", body, key)
        if choice < 0.6:
            note = own.pop(dice.randrange(len(own)))  # of its own, and never again: one request a deletion
            return Request(deletion_of(note), "delete", "DELETE", f"/notes/{note}", None, key, note_id=note)
        note = dice.choice(self._shared[-50:])
        if_match = dice.choice([None, None, None, '"1"', '"999999"'])
        return Request(marker, "patch", "PATCH", f"/notes/{note}", body, key, if_match, note_id=note)

    async def _send(self, request: Request) -> None:
        asked_ns = time.monotonic_ns()
        headers = {
            name: value
            for name, value in (("Idempotency-Key", request.key), ("If-Match", request.if_match))
            if value is not None
        }
        try:
            async with self._session.request(
                request.method, self._server.url + request.path, json=request.body, headers=headers
            ) as response:
                answer = self._judge(request, response, await response.read(), asked_ns)
        except aiohttp.ClientConnectorError as error:
            answer = Answer(Verdict.REFUSED, why=f"not sent: {error!r}", asked_ns=asked_ns)
        except (ConnectionBroke, aiohttp.ClientError, TimeoutError) as error:
            answer = Answer(Verdict.UNKNOWN, why=repr(error), asked_ns=asked_ns)
        request.answers.append(answer)
        self.ok += answer.verdict is Verdict.OK
        self.refusals += answer.verdict is Verdict.REFUSED and answer.status == 503
        if answer.verdict is not Verdict.OK and answer.status not in EXPECTED[request.kind]:
            await asyncio.sleep(PAUSE_S)

    def _judge(self, request: Request, response: aiohttp.ClientResponse, body: bytes, asked_ns: int) -> Answer:
        if response.status >= 400:
            return self._judge_problem(request, response, body, asked_ns)
        self._expect(response.status in EXPECTED[request.kind], request, f"answered {response.status}")
        self._expect("Notelog-Position" in response.headers, request, "no Notelog-Position")
        self._expect_epoch(request, response.headers.get("Notelog-Epoch"))
        note = json.loads(body) if body else None
        return Answer(
            Verdict.OK,
            response.status,
            int(response.headers.get("Notelog-Position", 0)),
            note["id"] if note else request.note_id or 0,
            note["version"] if note else 0,
            response.headers.get("Idempotency-Replayed") == "true",
            response.headers.get("ETag"),
            response.headers.get("Location"),
            note,
            asked_ns=asked_ns,
        )

    def _judge_problem(self, request: Request, response: aiohttp.ClientResponse, body: bytes, asked_ns: int) -> Answer:
        self._expect(response.status in {*EXPECTED[request.kind], 503}, request, f"{response.status}: {body!r}")
        self._expect(response.content_type == "application/problem+json", request, f"said {response.content_type}")
        self._expect(response.status != 503 or "Retry-After" in response.headers, request, "503 without Retry-After")
        problem = str(_problem(body).get("type", ""))
        verdict = Verdict.UNKNOWN if problem.endswith("/problems/outcome-unknown") else Verdict.REFUSED
        return Answer(verdict, response.status, why=body.decode(errors="replace"), asked_ns=asked_ns)

    def _expect(self, holds: bool, request: Request, why: str) -> None:
        if not holds:
            self.oddities.append(f"{request.method} {request.path} ({request.marker!r}): {why}")

    def _expect_epoch(self, request: Request, epoch: str | None) -> None:
        self._expect(epoch is not None, request, "no Notelog-Epoch")
        self._epoch = self._epoch or epoch
        self._expect(epoch == self._epoch, request, f"epoch {epoch}, was {self._epoch}")


def _problem(body: bytes) -> dict[str, Any]:
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _unlike(request: Request, first: Answer, again: Answer) -> list[str]:
    """How the answer to a repeat differs from the first one."""
    names = ("verdict", "status", "position", "note_id", "version", "etag", "location", "note")
    unlike = [
        f"{request.marker!r}: {name} was {getattr(first, name)!r}, is {getattr(again, name)!r}"
        for name in names
        if getattr(first, name) != getattr(again, name)
    ]
    return unlike if again.replayed else [*unlike, f"{request.marker!r}: not said to be replayed"]


async def read_notes(server: Server) -> dict[int, dict[str, Any]]:
    """All the current notes, page by page, as a reader is shown them."""
    notes: dict[int, dict[str, Any]] = {}
    path: str | None = "/notes?limit=1000"
    while path:
        status, page = await server.read(path)
        assert status == 200, f"GET {path}: {status} {page}"
        notes |= {note["id"]: note for note in page["notes"]}
        path = page["next"]
    return notes
