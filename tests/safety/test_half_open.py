"""Peers that vanish without a word: a network that drops every packet leaves no connection behind."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.process import Server, until
from tests.sizes import count
from tests.tools import need, need_root

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not count("vanished_sockets"), reason="waits for 40 s: NOTELOG_FAULTS=ci or long"),
]

HOST, PEER = "10.231.77.1", "10.231.77.2"
SOCKETS = count("vanished_sockets")  # of each kind
# A ping after 25 s, no pong for 10 s, and looking once a second.
WEBSOCKETS_GONE_WITHIN_S = 40.0

# Runs in the other network: opens connections of each kind, says so, and does nothing more.
CLIENT = """
import base64, socket, sys, time
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
upgrade = ("GET /ws HTTP/1.1\\r\\nHost: a\\r\\nConnection: upgrade\\r\\nUpgrade: websocket\\r\\n"
           "Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n").encode()
frame = b'{"type":"subscribe","id":"s","feed":"events","after":0}'
subscribe = bytes([0x81, 0x80 | len(frame), 0, 0, 0, 0]) + frame
kinds = [
    upgrade + subscribe,
    b"GET /healthz HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n",
    b"POST /notes HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 1000\\r\\n\\r\\n{",
    b"POST /notes HTTP/1.1\\r\\nHost: a\\r\\nX-",
    b"GET /events HTTP/1.1\\r\\nHost: a\\r\\nAccept: application/x-ndjson\\r\\n\\r\\n",
]
sockets = []
for sent in kinds * count:
    connected = socket.create_connection((host, port))
    connected.sendall(sent)
    sockets.append(connected)
time.sleep(1)
print("open", flush=True)
time.sleep(600)
"""


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, capture_output=True, timeout=10)


@pytest.fixture
def network() -> Iterator[str]:
    """The name of a network namespace that reaches this machine over one link; it is gone afterwards."""
    need_root()
    need("ip", "iptables")
    name = f"notelog-{os.getpid()}"
    ours, theirs = f"nl{os.getpid() % 100000}a", f"nl{os.getpid() % 100000}b"
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        run("ip", "address", "add", f"{HOST}/30", "dev", ours)
        run("ip", "link", "set", ours, "up")
        run("ip", "netns", "exec", name, "ip", "address", "add", f"{PEER}/30", "dev", theirs)
        run("ip", "netns", "exec", name, "ip", "link", "set", theirs, "up")
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False, timeout=10)
        subprocess.run(["ip", "link", "delete", ours], check=False, capture_output=True, timeout=10)


def open_sockets(pid: int) -> int:
    """How many connections and listening sockets a process has."""
    links = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(os.readlink(descriptor))
        except FileNotFoundError:
            continue
    return sum(link.startswith("socket:") for link in links)


async def test_peers_that_vanish_are_forgotten(tmp_path: Path, network: str) -> None:
    """With all packets dropped, connections of every kind are closed in their times, and others feel nothing."""
    async with Server(tmp_path / "data", "--host", "0.0.0.0", "--insecure") as server:
        await server.start()
        server.url = server.url.replace("0.0.0.0", "127.0.0.1")
        for number in range(50):
            async with server.session.post(server.url + "/notes", json={"title": f"note {number}"}) as made:
                assert made.status == 201
        before = open_sockets(server.pid)
        port = server.url.rsplit(":", 1)[1]
        command = ["ip", "netns", "exec", network, sys.executable, "-c", CLIENT, HOST, port, str(SOCKETS)]
        client = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        try:
            assert client.stdout is not None
            assert await asyncio.wait_for(client.stdout.readline(), 30) == b"open\n"
            assert open_sockets(server.pid) > before + 3 * SOCKETS
            for chain in ("INPUT", "OUTPUT"):
                run("ip", "netns", "exec", network, "iptables", "-I", chain, "-j", "DROP")
            began = asyncio.get_running_loop().time()
            answered = 0

            async def forgotten() -> bool:
                nonlocal answered
                async with server.session.post(server.url + "/notes", json={"title": "healthy"}) as made:
                    answered += made.status == 201
                await asyncio.sleep(0.05)
                return open_sockets(server.pid) <= before + 1

            await until(forgotten, WEBSOCKETS_GONE_WITHIN_S, "all connections to the lost network are closed")
            print(f"forgotten after {asyncio.get_running_loop().time() - began:.1f} s; {answered} writes meanwhile")
            status, page = await server.read("/notes?count=true&limit=1")
            assert (status, page["count"]) == (200, 50 + answered)
            assert not [line for line in server.log_lines() if line.get("level") == "error"], server.last_lines()
        finally:
            client.kill()
            await client.wait()
