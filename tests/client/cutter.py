"""A TCP proxy in front of the service, with a port that stays, that cuts connections where a test wants it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from urllib.parse import urlsplit

CHUNK_BYTES = 4096


class Cutter:
    """``target``: gives the service's URL of the moment; none (""): connections are refused.

    ``cut_after_bytes``: each connection is broken when the service has said so much through it (None: never).
    """

    def __init__(self, target: Callable[[], str]) -> None:
        self.url = ""
        self.cut_after_bytes: int | None = None
        self.cuts = 0
        self.lose_answers = 0
        self._target = target
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "Cutter":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Break all connections now, without a word."""
        for writer in list(self._open):
            self.cuts += 1
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._held(writer):
            try:
                there = urlsplit(self._target())
                behind_reader, behind_writer = await asyncio.open_connection(there.hostname, there.port)
            except (OSError, ValueError):
                return
            async with self._held(behind_writer):
                ways = [
                    asyncio.create_task(self._pass_on(reader, behind_writer, None)),
                    asyncio.create_task(self._pass_on(behind_reader, writer, self.cut_after_bytes)),
                ]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bytes_max: int | None) -> None:
        passed = 0
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                if chunk.startswith(b"HTTP/1.1 2") and self.lose_answers:
                    self.lose_answers -= 1
                    self.cuts += 1
                    return
                if bytes_max is not None and passed + len(chunk) > bytes_max:
                    writer.write(chunk[: bytes_max - passed])
                    await writer.drain()
                    self.cuts += 1
                    return
                writer.write(chunk)
                passed += len(chunk)
                await writer.drain()
        except ConnectionError:
            pass

    @asynccontextmanager
    async def _held(self, writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        self._open.add(writer)
        try:
            yield
        finally:
            self._open.discard(writer)
            writer.transport.abort()
