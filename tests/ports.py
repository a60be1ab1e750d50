"""Ports for what must come back where it was."""

import secrets
import socket

# Below what the kernel gives to connections on its own: those may take a port while its server is down.
LASTING_PORTS = range(15_000, 32_000)
_taken: set[int] = set()


def lasting_port() -> int:
    """A port that is free now, and that nobody gets by chance while a server is not up yet, or is killed."""
    while True:
        port = secrets.choice(LASTING_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _taken:
            _taken.add(port)
            return port
