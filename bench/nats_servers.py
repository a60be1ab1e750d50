"""Three NATS servers on loopback, as in deploy/nats: every message is synced before it is acknowledged."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from bench.server import POLL_S, READY_S_MAX

NUMBERS = range(3)
LASTING_PORTS = range(15_000, 32_000)


class Ports(Struct, frozen=True):
    """Where a server listens."""

    client: int
    monitor: int
    cluster: int


def lasting_port() -> int:
    """A port that is free now, below those that the kernel gives to connections: none of them takes it meanwhile."""
    while True:
        port = secrets.choice(LASTING_PORTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def lasting_ports(count: int) -> list[int]:
    """So many of them, no two alike."""
    found: set[int] = set()
    while len(found) < count:
        found.add(lasting_port())
    return list(found)


def nats_program() -> str | None:
    """The server, beside this Python or on the path."""
    return shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")


@contextmanager
def three_servers(folder: Path) -> Iterator[str]:
    """The value of --log while they run; they are killed at the end."""
    free = iter(lasting_ports(3 * len(NUMBERS)))
    ports = [Ports(next(free), next(free), next(free)) for _ in NUMBERS]
    processes = []
    try:
        for number in NUMBERS:
            config = folder / f"nats-{number}.conf"
            config.write_text(configuration(folder / f"nats-{number}", number, ports))
            with (folder / f"nats-{number}.log").open("wb") as log:
                argv = [nats_program() or "nats-server", "-c", str(config)]
                processes.append(subprocess.Popen(argv, stdout=log, stderr=log))
        for each in ports:
            wait_until_healthy(each.monitor)
        yield "nats://" + ",".join(f"127.0.0.1:{each.client}" for each in ports)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def configuration(store: Path, number: int, ports: list[Ports]) -> str:
    """One server's."""
    mine = ports[number]
    routes = ", ".join(f'"nats://127.0.0.1:{each.cluster}"' for each in ports)
    return f"""
server_name: "n{number}"
listen: "127.0.0.1:{mine.client}"
http: "127.0.0.1:{mine.monitor}"
jetstream {{ store_dir: "{store}", sync_interval: always }}
cluster {{ name: "bench", listen: "127.0.0.1:{mine.cluster}", routes: [{routes}] }}
"""


def wait_until_healthy(port: int) -> None:
    """Returns when a server says so."""
    deadline = time.monotonic() + READY_S_MAX
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(POLL_S)
    raise TimeoutError("a NATS server was not healthy in time")
