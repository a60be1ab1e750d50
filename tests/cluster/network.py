"""A network of its own for three servers: a namespace each, on one bridge, that can be cut between any two of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.nats_servers import Place

NUMBERS = range(3)
NETWORK = "10.213.77"  # of the documentation's kind: private, and unlikely to be in use


def host(number: int) -> str:
    """The address of a server."""
    return f"{NETWORK}.{10 + number}"


def space(number: int) -> str:
    """The name of a server's namespace."""
    return f"notelog-test-{number}"


@contextmanager
def network() -> Iterator[list[Place]]:
    """The three places. Skips where namespaces may not be made."""
    for tool in ("ip", "iptables"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}")
    with ExitStack() as stack:
        tried = _run("ip", "link", "add", "notelog-test", "type", "bridge")
        if tried.returncode != 0:
            pytest.skip(f"cannot make a network (needs root): {tried.stderr.strip()}")
        stack.callback(_run, "ip", "link", "delete", "notelog-test")
        _must("ip", "addr", "add", f"{NETWORK}.1/24", "dev", "notelog-test")
        _must("ip", "link", "set", "notelog-test", "up")
        for number in NUMBERS:
            _join(stack, number)
        yield [Place(host(number), ["ip", "netns", "exec", space(number)]) for number in NUMBERS]


def cut_off(number: int) -> None:
    """Let a server hear and reach none of the others; clients still reach it."""
    for other in NUMBERS:
        if other != number:
            for chain, side in (("INPUT", "-s"), ("OUTPUT", "-d")):
                _must("ip", "netns", "exec", space(number), "iptables", "-A", chain, side, host(other), "-j", "DROP")


def heal(number: int) -> None:
    """Undo `cut_off`."""
    _must("ip", "netns", "exec", space(number), "iptables", "-F")


def _join(stack: ExitStack, number: int) -> None:
    name, inside, outside = space(number), f"nlt{number}i", f"nlt{number}o"
    _must("ip", "netns", "add", name)
    stack.callback(_run, "ip", "netns", "delete", name)
    stack.callback(_run, "ip", "link", "delete", outside)  # the kernel takes its time with those of a namespace
    _must("ip", "link", "add", outside, "type", "veth", "peer", "name", inside)
    _must("ip", "link", "set", inside, "netns", name)
    _must("ip", "link", "set", outside, "master", "notelog-test", "up")
    for words in (f"addr add {host(number)}/24 dev {inside}", f"link set {inside} up", "link set lo up"):
        _must("ip", "-n", name, *words.split())


def _must(*command: str) -> None:
    done = _run(*command)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)
