"""``notelog serve`` as a process: how it starts, refuses to, and stops."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.faults.process import REPOSITORY, Server, until

ENDS_WITHIN_S = 30.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A service on an empty folder, not started yet; killed at the end."""
    async with Server(tmp_path / "data") as server:
        yield server


def serve(*arguments: str, **environment: str) -> tuple[int, list[str]]:
    """Run ``serve`` to its end: its exit code and the lines that it has written on stderr."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NOTELOG_") and name != "PORT"}
    ended = subprocess.run(
        [sys.executable, "-m", "service", "serve", *arguments],
        cwd=REPOSITORY,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN_S,
        check=False,
    )
    assert ended.stdout == ""
    return ended.returncode, ended.stderr.splitlines()


async def test_a_folder_belongs_to_one_process(server: Server) -> None:
    """A second ``serve`` on a folder ends at once with exit code 2 and one line; the first goes on."""
    await server.start()
    code, lines = await asyncio.to_thread(serve, "--data", str(server.data), "--port", "0")
    assert (code, len(lines)) == (2, 1)
    assert str(server.data) in lines[0]
    assert str(server.pid) in lines[0]
    assert await server.is_ready()


def test_wrong_settings(tmp_path: Path) -> None:
    """A wrong setting ends the start with exit code 2 and one line that names it; nothing was made."""
    data = ["--data", str(tmp_path / "data"), "--port", "0"]
    for name, arguments, environment in [
        ("--port", [*data, "--port", "x"], {}),
        ("--port", [*data, "--port", "65536"], {}),
        ("--host", [*data, "--host", "0.0.0.0"], {}),
        ("--host", [*data, "--host", "::"], {}),
        ("--log", [*data, "--log", "postgres"], {}),
        ("--nonsense", [*data, "--nonsense"], {}),
        ("NOTELOG_REQUIRE_IF_MATCH", data, {"NOTELOG_REQUIRE_IF_MATCH": "perhaps"}),
        ("NOTELOG_AUTH_SECRET", data, {"NOTELOG_AUTH_SECRET": "short"}),
    ]:
        code, lines = serve(*arguments, **environment)
        assert (code, len(lines)) == (2, 1), lines
        assert name in lines[0]
    assert not (tmp_path / "data").exists()


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    """A data folder that is a file, or holds something else, ends the start with exit code 2 and one line."""
    (tmp_path / "file").write_text("hello")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "events.db").write_text("this is no database, but a letter to my aunt " * 50)
    for name in ("file", "other"):
        code, lines = serve("--data", str(tmp_path / name), "--port", "0")
        assert (code, len(lines)) == (2, 1), lines
        assert str(tmp_path / name) in lines[0]
    assert (tmp_path / "other" / "events.db").read_text().startswith("this is no database")


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """A port that is taken ends the start with exit code 2, and the last line names it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, lines = serve("--data", str(tmp_path / "data"), "--port", str(port))
    assert code == 2
    assert f"--port {port}" in lines[-1]


async def test_settings_from_the_environment(server: Server) -> None:
    """Settings may stand in the environment, and mean the same there."""
    await server.start(environment={"NOTELOG_REQUIRE_IF_MATCH": "true"})
    async with server.session.post(f"{server.url}/notes", json={"title": "Milk"}) as answer:
        assert answer.status == 201
    async with server.session.delete(f"{server.url}/notes/1") as answer:
        assert answer.status == 428


async def test_logs_are_json(server: Server) -> None:
    """When stderr is no terminal every line is a JSON object; broken requests make no traceback and no error."""
    await server.start()
    async with server.session.post(f"{server.url}/notes", data=b"{") as answer:
        assert answer.status in (400, 415)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    writer.write(b"rubbish\r\n\r\n")
    assert b" 400 " in await reader.read(100)
    writer.close()
    assert await server.stop() == 0
    lines = server.log_lines()
    assert lines
    assert not [line for line in lines if "text" in line or line.get("level") == "error"], lines


class Writer:
    """A client that creates notes one after another, and remembers which were answered."""

    def __init__(self, server: Server, number: int) -> None:
        self.answered: list[int] = []
        self._server = server
        self._number = number

    async def write(self) -> None:
        """Write until the service does not answer any more."""
        async with aiohttp.ClientSession() as session:
            try:
                while True:
                    await self._write_one(session)
            except (aiohttp.ClientError, ConnectionError):
                pass

    async def _write_one(self, session: aiohttp.ClientSession) -> None:
        note = {"title": f"{self._number}-{len(self.answered)}"}
        async with session.post(f"{self._server.url}/notes", json=note) as answer:
            body = await answer.json()
            assert answer.status in (201, 503), body
            if answer.status == 201:
                self.answered.append(body["id"])


async def watch(url: str, hang: bool) -> int | None:
    """Follow all events until the end, or read nothing at all; the code that the service closed with."""
    async with connect(url.replace("http", "ws") + "/ws", max_queue=1, close_timeout=1) as client:
        await client.send(json.dumps({"type": "subscribe", "id": "s", "feed": "events", "after": 0}))
        try:
            while True:
                if hang:
                    await asyncio.sleep(ENDS_WITHIN_S)
                await client.recv()
        except ConnectionClosed:
            return client.close_code
        finally:
            client.transport.abort()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stopping_loses_nothing_that_was_answered(server: Server, number: signal.Signals) -> None:
    """Under load, with open sockets that hang too, a signal ends it with 0 in 10 s; what was answered is there."""
    await server.start()
    writers = [Writer(server, number) for number in range(16)]
    writing = [asyncio.create_task(writer.write()) for writer in writers]
    watching = [asyncio.create_task(watch(server.url, hang=False)) for _ in range(4)]
    hanging = [asyncio.create_task(watch(server.url, hang=True)) for _ in range(2)]
    await until(lambda: min(len(writer.answered) for writer in writers) >= 20, ENDS_WITHIN_S, "all have written")
    if number is signal.SIGINT:
        server.send_signal(number)
    assert await server.stop() == 0
    await asyncio.gather(*writing)
    assert await asyncio.gather(*watching) == [1001] * 4
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    answered = sorted(id_ for writer in writers for id_ in writer.answered)
    assert len(set(answered)) == len(answered)
    await server.start()
    assert set(answered) <= await ids_in(server)


async def test_nobody_who_hangs_holds_a_stop_up(server: Server) -> None:
    """Readers of a stream and of websockets that have stopped, and half a body, do not keep it from ending in 10 s."""
    await server.start()
    for _ in range(100):
        async with server.session.post(f"{server.url}/notes", json={"title": "x", "description": "x" * 60_000}) as note:
            assert note.status == 201
    watching = [asyncio.create_task(watch(server.url, hang=True)) for _ in range(3)]
    lines = b"GET /events?after=0 HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n"
    half = b"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"
    hanging = [hung(server.url, asked) for asked in (lines, half)]
    hanging[0].recv(1)  # its answer has begun
    assert await server.stop() == 0
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    for connection in hanging:
        connection.close()


async def test_a_request_whose_body_still_arrives_is_under_way(server: Server) -> None:
    """Its rest may come after the signal: it is answered, and what was answered is there."""
    await server.start()
    begun = hung(server.url, b"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
    begun.sendall(b'Content-Length: 16\r\nExpect: 100-continue\r\n\r\n{"title"')
    assert begun.recv(100).startswith(b"HTTP/1.1 100 ")
    server.send_signal(signal.SIGTERM)
    await until(lambda: refuses(server.url), ENDS_WITHIN_S, "no connection is taken any more")
    begun.sendall(b':"milk"}')
    answer = await asyncio.to_thread(begun.recv, 4096)
    begun.close()
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert await server.stop() == 0
    await server.start()
    assert await ids_in(server) == {1}


@pytest.mark.parametrize("path", ["/notes", "/notes?q=milk", "/notes?as_of=0", "/tlog/checkpoint"])
async def test_a_read_that_waits_is_under_way(server: Server, path: str) -> None:
    """It waits for what will not come before the end: it is told so, on a connection that is still there."""
    await server.start()
    asked = f"GET {path} HTTP/1.1\r\nHost: x\r\nNotelog-Min-Position: 9\r\nExpect: 100-continue\r\n\r\n"
    waiting = hung(server.url, asked.encode())
    assert waiting.recv(100).startswith(b"HTTP/1.1 100 ")
    server.send_signal(signal.SIGTERM)
    answer = await asyncio.to_thread(waiting.recv, 4096)
    waiting.close()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: " in answer
    assert await server.stop() == 0


def refuses(url: str) -> bool:
    """Whether nobody listens there any more."""
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), ENDS_WITHIN_S).close()
    except ConnectionRefusedError:
        return True
    return False


def hung(url: str, asked: bytes) -> socket.socket:
    """A connection that asks, and takes next to nothing of the answer."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(ENDS_WITHIN_S)
    host, _, port = url.removeprefix("http://").partition(":")
    connection.connect((host, int(port)))
    connection.sendall(asked)
    return connection


async def ids_in(server: Server) -> set[int]:
    """The ids of all notes."""
    ids: set[int] = set()
    path: str | None = "/notes?limit=1000"
    while path:
        _, page = await server.read(path)
        ids |= {note["id"] for note in page["notes"]}
        path = page["next"]
    return ids


async def test_a_restart_goes_on_where_it_was(server: Server) -> None:
    """After an orderly stop, and after a kill, the log and its epoch are the same, and positions have no hole."""
    epochs: set[Any] = set()
    for expected in range(1, 5):
        await server.start()
        async with server.session.post(f"{server.url}/notes", json={"title": "Milk"}) as answer:
            assert (answer.status, answer.headers["Notelog-Position"]) == (201, str(expected))
            epochs.add(answer.headers["Notelog-Epoch"])
        if expected % 2:
            assert await server.stop() == 0
        else:
            await server.kill()
    assert len(epochs) == 1
