"""Faults that strace puts into the system calls of the running service."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.tools import cannot_run, need

from .process import Server, until

FSYNCS = "fsync,fdatasync"
ATTACHED_WITHIN_S = 10.0


def need_strace() -> None:
    """Run the test only where strace is installed, and may trace."""
    need("strace")
    tried = subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False
    )
    if tried.returncode != 0:
        cannot_run(f"strace may not trace here: {tried.stderr.strip()}")


def _failing(files: Sequence[Path]) -> list[str]:
    """What strace looks at: the fsyncs of these files and no others."""
    return [f"--trace={FSYNCS}", *(f"--trace-path={file}" for file in files)]


@dataclass(frozen=True)
class FailedFsync:
    """The n-th fsync of these files fails with EIO.

    strace counts for each thread; one thread owns the connection that commits. Nothing is synced by the failed call,
    and nothing is taken back either: as on Linux, where the pages stay in the cache, marked clean.
    """

    nth: int
    files: Sequence[Path]
    trace: Path

    @property
    def wrapper(self) -> list[str]:
        """The command to put in front. -D keeps the service the direct child, so that signals reach it."""
        return [
            "strace",
            "-D",
            "-f",
            "--seccomp-bpf",
            "-o",
            str(self.trace),
            *_failing(self.files),
            f"--inject={FSYNCS}:error=EIO:when={self.nth}",
        ]

    def has_struck(self) -> bool:
        """Whether an fsync has failed by now."""
        return self.trace.exists() and "(INJECTED)" in self.trace.read_text()


@asynccontextmanager
async def broken_disk(server: Server, files: Sequence[Path]) -> AsyncIterator[None]:
    """Every fsync of these files fails with EIO for as long as the block lasts; then the disk is well again."""
    said = server.data.with_name("strace-attached")
    with said.open("wb") as said_to:
        strace = await asyncio.create_subprocess_exec(
            "strace",
            "-f",
            "-p",
            str(server.pid),
            "-o",
            "/dev/null",
            *_failing(files),
            f"--inject={FSYNCS}:error=EIO",
            stderr=said_to,
        )
    try:
        await until(lambda: b"attached" in said.read_bytes(), ATTACHED_WITHIN_S, "strace is attached")
        yield
    finally:
        with suppress(ProcessLookupError):  # it has ended with the process that it traced
            strace.terminate()
        await strace.wait()
