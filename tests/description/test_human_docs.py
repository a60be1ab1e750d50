"""docs/API.md and docs/WEBSOCKET.md: what they show happens so, and they leave out nothing that there is."""

import json
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, get_args

import pytest
from aiohttp import ClientWebSocketResponse
from msgspec import Struct

from service import problems
from service.live import messages
from service.live.close_codes import CLOSE_CODES
from service.live.feeds import EventsWhere, NotesWhere
from tests.description.described import Description
from tests.service.running import WITHIN_S, Answer, Running

DOCS = Path(__file__).resolve().parents[2] / "docs"
API = (DOCS / "API.md").read_text()
WEBSOCKET = (DOCS / "WEBSOCKET.md").read_text()

# Answers that the service gives to everybody, whatever is asked.
NOT_IN_THE_DOCS = {"Cache-Control", "Content-Security-Policy", "Cross-Origin-Opener-Policy", "Permissions-Policy"}
NOT_IN_THE_DOCS |= {"Referrer-Policy", "X-Content-Type-Options", "Upgrade"}


class Block(Struct, frozen=True):
    """An example: a request, an answer to the one before, or frames."""

    kind: str
    head: str
    headers: dict[str, str]
    body: str


@pytest.mark.parametrize("name", ["API.md", "WEBSOCKET.md"])
async def test_every_example_happens_so(running: Running, name: str) -> None:
    """The requests and frames of the page, sent in their order, are answered as it shows."""
    await running.start()
    answer: Answer | None = None
    async with AsyncExitStack() as stack:
        socket: ClientWebSocketResponse | None = None
        for block in examples((DOCS / name).read_text()):
            if block.kind == "frames":
                if socket is None:
                    socket = await stack.enter_async_context(running.session.ws_connect(running.url + "/ws"))
                await exchange(socket, block.body)
            elif block.kind == "request":
                method, path = block.head.split()
                answer = await running.ask(method, path, data=block.body.encode() or None, headers=block.headers)
            else:
                assert answer is not None
                compare(answer, block)


async def test_the_pages_name_everything(running: Running) -> None:
    """Each route, parameter, header, kind of problem, filter and code that there is stands in the pages."""
    await running.start()
    description = Description((await running.get("/openapi.json")).json)
    for operation, _ in description.operations():
        assert re.sub(r"{(tile|file)}", "…", operation.path) in API + WEBSOCKET, operation
        for name in description.parameters(operation, "query") | description.parameters(operation, "header"):
            assert f"`{name}`" in API or f"?{name}=" in API, f"{operation}: {name}"
    for name in set(description.document["components"]["headers"]) - NOT_IN_THE_DOCS:
        assert name in API, name
    for slug in problems.PROBLEMS:
        assert f"`{slug}`" in API, slug
    for code in (*get_args(messages.ErrorCode), *get_args(messages.ResetReason)):
        assert code in WEBSOCKET, code
    for field in (*EventsWhere.__struct_fields__, *NotesWhere.__struct_fields__):
        assert f"`{field}`" in WEBSOCKET, field


def test_the_close_codes_are_those_of_the_service() -> None:
    """The table has the codes that there are, and no other."""
    assert {int(code) for code in re.findall(r"^\| (\d{4}) \|", WEBSOCKET, re.MULTILINE)} == {
        close.code for close in CLOSE_CODES
    }


def examples(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in their order."""
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        if language == "http":
            yield http_block(text)
        elif not language:
            yield Block("frames", "", {}, text)


def http_block(text: str) -> Block:
    """A request or an answer."""
    start, _, body = text.partition("\n\n")
    head, *lines = start.splitlines()
    kind = "answer" if head.startswith("HTTP/") else "request"
    return Block(kind, head, dict(line.split(": ", 1) for line in lines), body.strip())


def compare(answer: Answer, block: Block) -> None:
    """Fail unless the answer is as it is shown."""
    status = int(block.head.split()[1])
    assert answer.status == status, (block.head, answer.body)
    for name, value in block.headers.items():
        assert matches(value, answer.headers.get(name)), (name, value, answer.headers.get(name))
    if block.body:
        assert matches(json.loads(block.body), answer.json), (block.body, answer.body)


async def exchange(socket: ClientWebSocketResponse, lines: str) -> None:
    """Send and expect frames, line by line."""
    for line in lines.splitlines():
        direction, frame = line[0], json.loads(line[1:])
        if direction == "→":
            await socket.send_json(frame)
        else:
            received = json.loads(await socket.receive_str(timeout=WITHIN_S))
            assert matches(frame, received), (frame, received)


def matches(shown: Any, real: Any) -> bool:
    """Whether a value is as it is shown; … in a text stands for anything."""
    if isinstance(shown, dict):
        return (
            isinstance(real, dict)
            and shown.keys() == real.keys()
            and all(matches(shown[key], real[key]) for key in shown)
        )
    if isinstance(shown, list):
        return isinstance(real, list) and len(shown) == len(real) and all(map(matches, shown, real))
    if isinstance(shown, str) and isinstance(real, str):
        return re.fullmatch(".*".join(map(re.escape, shown.split("…"))), real, re.DOTALL) is not None
    return type(shown) is type(real) and bool(shown == real)
