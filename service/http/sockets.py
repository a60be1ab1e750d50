"""Connections as the kernel has them: what it holds for the peer, and how many there may be."""

import asyncio
import fcntl
import resource
import socket
import struct
import termios


def unsent_bytes(transport: asyncio.Transport | None) -> int:
    """What waits for the peer: in this process, and in the kernel until the peer has acknowledged it.

    The kernel holds up to 4 MiB. A slow reader takes those for minutes before anything here moves, so that looking at
    this process alone would take it for one that has stopped. Where the kernel does not tell, only this process counts.
    """
    if transport is None or transport.is_closing():
        return 0
    connected = transport.get_extra_info("socket")
    try:
        (unacknowledged,) = struct.unpack("i", fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, bytes(4)))
    except (OSError, AttributeError, ValueError):
        unacknowledged = 0
    return transport.get_write_buffer_size() + int(unacknowledged)


def reset(transport: asyncio.Transport) -> None:
    """End the connection at once, and let the kernel forget what it holds for the peer."""
    connected = transport.get_extra_info("socket")
    if connected is not None:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


# Beside the websockets: the files, the listening socket, and requests that come and go.
OTHER_DESCRIPTORS = 1_000


def allow_descriptors(connections_max: int) -> int:
    """Let this process open so many websockets, if the system does; returns how many descriptors it may have.

    The usual soft limit of 1,024 is there for programs that call select(), which this one does not.
    """
    wanted = connections_max + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
