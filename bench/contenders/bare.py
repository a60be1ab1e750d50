"""The limit: aiohttp that decodes the body and answers given bytes, and does nothing else.

The answers are those of notelog (status, headers, body), captured before, so that both sides send the same bytes.
Its websockets are the limit of a broadcast: one `send_str` a socket, one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
from pathlib import Path

import msgspec
import uvloop
from aiohttp import WSMsgType, web

from bench.answers import Answers
from bench.client import Answer
from bench.contenders.listening import serve

BODY_BYTES_MAX = 1024 * 1024
FRAME_BYTES_MAX = 64 * 1024
WRITER_BYTES_MAX = 64 * 1024


class Note(msgspec.Struct):
    """The body of a POST and a PUT."""

    title: str
    description: str = ""
    created_at: str = ""
    created_by: str = ""
    priority: int = 0


class Bare:
    """The handlers."""

    def __init__(self, answers: Answers) -> None:
        """`answers` are sent as they stand."""
        self._answers = answers
        self._decoder = msgspec.json.Decoder(Note)
        self._sockets: set[web.WebSocketResponse] = set()

    async def create(self, request: web.Request) -> web.Response:
        """POST /notes."""
        self._decoder.decode(await request.read())
        return respond(self._answers.create)

    async def edit(self, request: web.Request) -> web.Response:
        """PUT /notes/{id}."""
        int(request.match_info["id"])
        self._decoder.decode(await request.read())
        return respond(self._answers.edit)

    async def read(self, request: web.Request) -> web.Response:
        """GET /notes/{id}."""
        int(request.match_info["id"])
        return respond(self._answers.read)

    async def page(self, request: web.Request) -> web.Response:
        """GET /notes."""
        int(request.query["limit"])
        return respond(self._answers.list)

    async def subscribe(self, request: web.Request) -> web.WebSocketResponse:
        """GET /ws: a socket that broadcasts reach."""
        socket = web.WebSocketResponse(compress=False, max_msg_size=FRAME_BYTES_MAX, writer_limit=WRITER_BYTES_MAX)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.ERROR:
                    break
        finally:
            self._sockets.discard(socket)
        return socket

    async def broadcast(self, request: web.Request) -> web.Response:
        """POST /broadcast: the body's frame, `times` times, to all sockets, one by one."""
        frame = await request.text()
        for _ in range(int(request.query.get("times", "1"))):
            for socket in tuple(self._sockets):
                await socket.send_str(frame)
        return web.json_response({"sockets": len(self._sockets)})


def respond(answer: Answer) -> web.Response:
    """An aiohttp response with the answer's bytes."""
    return web.Response(status=answer.status, headers=answer.headers, body=answer.body)


def application(answers: Answers) -> web.Application:
    """The routes."""
    bare = Bare(answers)
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_post("/notes", bare.create)
    app.router.add_get("/notes", bare.page)
    app.router.add_get("/notes/{id}", bare.read)
    app.router.add_put("/notes/{id}", bare.edit)
    app.router.add_get("/ws", bare.subscribe)
    app.router.add_post("/broadcast", bare.broadcast)
    return app


def collect_less() -> None:
    """As notelog does: a limit has the same settings of the garbage collector as what it limits."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def main() -> None:
    """Serves the answers in the file that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("answers", type=Path)
    parser.add_argument("data", type=Path, help="not used")
    answers = msgspec.json.decode(parser.parse_args().answers.read_bytes(), type=Answers)

    async def run() -> None:
        app = application(answers)
        collect_less()
        await serve(app)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


if __name__ == "__main__":
    main()
