"""Faults that strace puts into the system calls of the running service."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest


def skip_without_strace() -> None:
    """Skips where strace is missing, or may not trace."""
    if shutil.which("strace") is None:
        pytest.skip("there is no strace")
    tried = subprocess.run(["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "true"],
                           capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"strace may not trace here: {tried.stderr.strip()}")


@dataclass(frozen=True)
class FailedFsync:
    """The n-th fsync of these files fails with EIO; with `for_ever` also every later one.

    strace counts for each thread; one thread owns the connection that commits. Nothing is synced by the failed call,
    and nothing is taken back either: as on Linux, where the pages stay in the cache, marked clean.
    """

    nth: int
    files: Sequence[Path]
    trace: Path
    for_ever: bool = False

    @property
    def wrapper(self) -> list[str]:
        """The command to put in front. -D keeps the service the direct child, so that signals reach it."""
        when = f"{self.nth}+" if self.for_ever else str(self.nth)
        paths = [word for file in self.files for word in ("-P", str(file))]
        return ["strace", "-D", "-f", "--seccomp-bpf", "-o", str(self.trace), *paths,
                "-e", "trace=fsync,fdatasync", "-e", f"inject=fsync,fdatasync:error=EIO:when={when}"]

    def has_struck(self) -> bool:
        """Whether an fsync has failed by now."""
        return self.trace.exists() and "(INJECTED)" in self.trace.read_text()
