"""Sockets as they are: what a broken or hostile client sends, byte for byte."""

import asyncio
import time
from urllib.parse import urlsplit

# Far more than any answer takes.
WITHIN_S = 20.0


def address(url: str) -> tuple[str, int]:
    """Host and port of a service."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


async def send(url: str, sent: bytes, *, answered: bool = True) -> bytes:
    """Send bytes, end our side, and read until the service ends its own.

    ``answered``: our side ends when the answer has begun, because aiohttp answers nobody who does not listen.
    """
    reader, writer = await asyncio.open_connection(*address(url))
    answer = b""
    try:
        writer.write(sent)
        async with asyncio.timeout(WITHIN_S):
            if answered:
                answer = await reader.read(65536)
            writer.write_eof()
            while chunk := await reader.read(65536):
                answer += chunk
    except ConnectionError:
        pass  # it was reset: what came before is the answer
    finally:
        writer.close()
    return answer


async def closed_after_s(reader: asyncio.StreamReader, since: float, within_s: float) -> float:
    """Seconds until the service closes the connection, whatever it says before."""
    async with asyncio.timeout(within_s):
        try:
            await reader.read()
        except ConnectionError:
            pass
    return time.monotonic() - since
