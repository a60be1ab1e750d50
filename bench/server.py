"""A contender's process: started on loopback, watched through /proc, stopped by its own id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

READY_S_MAX = 120.0  # a log of a million events may have its tables built first
STOP_S_MAX = 15.0  # notelog promises to stop within 10 s
POLL_S = 0.01
STILL_S = 1.2  # longer than notelog's tables gather events
STILL_CPU_S = 0.011  # one tick of the kernel's clock: a process that waits wakes up now and then
SETTLED_S_MAX = 10.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MIB = 1024 * 1024


class ServerFailed(Exception):
    """A contender ended, or was not ready in time."""

    def __init__(self, name: str, reason: str) -> None:
        """`reason` carries the end of what the process wrote."""
        super().__init__(f"{name}: {reason}")


class Server:
    """A running contender. Use as a context manager: it is stopped on leaving."""

    def __init__(
        self, name: str, argv: Sequence[str], log: Path, url: str | None = None, tracer: Sequence[str] = ()
    ) -> None:
        """Starts the process; without `url` waits for its line {"event": "listening", "url": …} on stderr.

        Those that say so have an event loop in their first thread. Settings in the shell's environment do not reach
        the process. A `tracer` is a command that starts the process as its one child and ends with it.
        """
        self.name = name
        self.turns = 0  # how often it was loaded
        self.has_loop = url is None
        self._log = log
        self._traced = bool(tracer)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NOTELOG_")}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*tracer, *argv], stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment
            )
        try:
            self.url = url or self._listening_url()
        except BaseException:
            self.stop()
            raise
        address = urlsplit(self.url)
        assert address.hostname and address.port, f"expected a URL with host and port, got {self.url}"
        self.host, self.port = address.hostname, address.port

    def __enter__(self) -> Server:
        """The server itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stops the process."""
        self.stop()

    @property
    def pid(self) -> int:
        """The contender's process id, not its tracer's."""
        started = self.process.pid
        if not self._traced:
            return started
        children = Path(f"/proc/{started}/task/{started}/children").read_text().split()
        return int(children[0]) if children else started

    def cpu_s(self) -> float:
        """User and system time of all its threads, ended ones too."""
        return cpu_s(Path(f"/proc/{self.pid}/stat"))

    def loop_cpu_s(self) -> float:
        """User and system time of the first thread: where `has_loop`, the event loop's."""
        return cpu_s(Path(f"/proc/{self.pid}/task/{self.pid}/stat"))

    def settled(self) -> None:
        """Returns when the process has done what it put off, or after `SETTLED_S_MAX`."""
        deadline = time.monotonic() + SETTLED_S_MAX
        before = self.cpu_s()
        while time.monotonic() < deadline:
            time.sleep(STILL_S)
            if (now := self.cpu_s()) - before < STILL_CPU_S:
                return
            before = now

    def memory_bytes(self) -> int:
        """Resident memory."""
        return memory_bytes(self.pid)

    def sockets(self) -> int:
        """How many sockets it holds open."""
        names = (_link(entry) for entry in Path(f"/proc/{self.pid}/fd").iterdir())
        return sum(name.startswith("socket:") for name in names)

    def kill(self) -> None:
        """Ends the process with SIGKILL: no farewell, as a crash."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Asks the process to end, and ends it when it does not within `STOP_S_MAX`."""
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
        try:
            self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()

    def said(self) -> str:
        """The end of what the process wrote."""
        return self._log.read_text(errors="replace")[-2000:]

    def failed(self, reason: str) -> ServerFailed:
        """An error with the process's own last words."""
        return ServerFailed(self.name, f"{reason}; it wrote:\n{self.said()}")

    def _listening_url(self) -> str:
        deadline = time.monotonic() + READY_S_MAX
        while time.monotonic() < deadline:
            for line in self._log.read_text(errors="replace").splitlines():
                if '"listening"' in line:
                    return str(json.loads(line)["url"])
            if self.process.poll() is not None:
                raise self.failed(f"ended with {self.process.returncode} before it listened")
            time.sleep(POLL_S)
        raise self.failed(f"expected it to listen within {READY_S_MAX:.0f} s")


def cpu_s(stat: Path) -> float:
    """Fields 14 and 15 of proc(5)'s stat; the name before them may hold spaces and brackets."""
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def memory_bytes(pid: int) -> int:
    """Resident memory, from proc(5)'s statm."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _link(entry: Path) -> str:
    try:
        return os.readlink(entry)
    except FileNotFoundError:  # closed between the listing and the look
        return ""
