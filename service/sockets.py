"""What the kernel knows of a connection."""

import asyncio
import fcntl
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
