"""A command that runs to its end: how long it takes, and the memory of it and of the processes that it starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from bench.server import MIB

COMMAND_S_MAX = 1800.0
LOOK_S = 0.02


class Turn(Struct, frozen=True):
    """One run over a log."""

    events: int
    seconds: float
    memory_mib: float

    @property
    def events_per_s(self) -> float:
        """How fast it went."""
        return self.events / self.seconds


def timed(argv: Sequence[str], events: int) -> Turn:
    """A Python process from its start to its end; whatever happens here, nothing of it is left behind."""
    began, largest = time.perf_counter(), 0
    # A group of its own, so that all of it can be ended.
    process = subprocess.Popen([sys.executable, *argv], stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        while process.returncode is None and time.perf_counter() - began < COMMAND_S_MAX:
            largest = max(largest, family_memory_bytes(process.pid))
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_S)
        taken_s = time.perf_counter() - began
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        raise RuntimeError(f"{' '.join(argv)} ended with {process.returncode}")
    return Turn(events, taken_s, largest / MIB)


def family_memory_bytes(pid: int) -> int:
    """Resident memory of a process and its children, but for what they share."""
    total = 0
    for one in [pid, *children(pid)]:
        try:
            pages = Path(f"/proc/{one}/statm").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")
    return total


def children(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    try:
        found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return found + [grandchild for child in found for grandchild in children(child)]
