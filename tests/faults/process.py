"""One `notelog serve` process on a data folder: started, killed and stopped as often as a test wants."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

from tests.service_log import settings_for

REPOSITORY = Path(__file__).resolve().parents[2]

# Another build of the service can be put through the same faults: NOTELOG_SERVE="/opt/notelog/bin/notelog".
COMMAND = shlex.split(os.environ.get("NOTELOG_SERVE", "")) or [sys.executable, "-m", "service"]

# Far more than a start takes, so that only a start that hangs meets it (under strace, on a busy machine).
READY_WITHIN_S = 30.0
# The service promises 10 s after SIGTERM.
STOPPED_WITHIN_S = 10.0
POLL_S = 0.01


class ServerEnded(Exception):
    """The process ended by itself while the test waited for it."""

    def __init__(self, code: int, last_lines: str) -> None:
        super().__init__(f"serve ended with exit code {code}; its last lines:\n{last_lines}")
        self.code = code


class NotInTime(AssertionError):
    """Something that had to come about did not, within its deadline."""


async def until(holds: Callable[[], bool | Awaitable[bool]], within_s: float, what: str) -> None:
    """Poll until `holds` is true. Raises NotInTime, saying `what` was waited for, after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while not (answer if isinstance(answer := holds(), bool) else await answer):
        if time.monotonic() > deadline:
            raise NotInTime(f"not within {within_s} s: {what}")
        await asyncio.sleep(POLL_S)


class Server:
    """The service as a process. Leaving the `async with` block kills what still runs.

    `up` is set while the process is ready, so that clients can wait out the time between a kill and a start.
    """

    def __init__(
        self,
        data: Path,
        *arguments: str,
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = COMMAND,
    ) -> None:
        self.data = data
        self._program = program
        self.log = log or data.with_name(data.name + ".log")
        self.url = ""
        self.up = asyncio.Event()
        self.starts = 0
        self.ready_after_s: list[float] = []  # each start until /readyz said 200
        self._arguments = arguments
        self._environment = dict(environment or {})
        if "--log" not in arguments and (settings := settings_for(data)):
            self._arguments += ("--log", settings["log"])
            self._environment["NOTELOG_NATS_STREAM"] = settings["nats_stream"]
        self._process: subprocess.Popen[bytes] | None = None
        self._log_offset = 0

    async def __aenter__(self) -> Server:
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()
        await self.session.close()

    async def start(
        self,
        wrapper: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        within_s: float = READY_WITHIN_S,
    ) -> None:
        """Start and wait until ready. Raises ServerEnded when the process ends before, NotInTime when it hangs."""
        began = time.monotonic()
        self.launch(wrapper, environment)
        await self.listens(within_s)
        await until(self.is_ready, within_s, "/readyz answers 200")
        self.ready_after_s.append(time.monotonic() - began)
        self.up.set()

    def launch(self, wrapper: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> None:
        """Start the process and do not wait. `wrapper` is a command in front, such as strace's."""
        assert self._process is None, "the process before this one was neither killed nor stopped"
        self.starts += 1
        self.url = ""
        self._log_offset = self.log.stat().st_size if self.log.exists() else 0
        command = [*wrapper, *self._program, "serve", "--data", str(self.data), "--port", "0", *self._arguments]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._whole_environment(environment),
            )

    async def listens(self, within_s: float = READY_WITHIN_S) -> None:
        """Wait until the process takes connections, ready or not. Raises ServerEnded, NotInTime."""
        await until(self._is_listening, within_s, "serve says that it listens")

    async def kill(self) -> None:
        """SIGKILL, and wait until the process is gone. Of a process that is gone already: nothing."""
        self.up.clear()
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            self._process = None

    async def stop(self) -> int:
        """SIGTERM; the exit code. Raises NotInTime after the 10 s that the service promises."""
        assert self._process is not None, "nothing runs"
        self.up.clear()
        self._process.send_signal(signal.SIGTERM)
        await until(lambda: not self.is_running(), STOPPED_WITHIN_S, "serve ends after SIGTERM")
        code, self._process = self._process.returncode, None
        return code

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None, "nothing runs"
        return self._process.pid

    def send_signal(self, number: int) -> None:
        """Send any other signal (SIGSTOP, SIGCONT)."""
        assert self._process is not None, "nothing runs"
        self._process.send_signal(number)

    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    async def is_ready(self) -> bool:
        """Whether /readyz says 200. Raises ServerEnded when there is no process any more."""
        self._must_run()
        try:
            async with self.session.get(self.url + "/readyz") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def read(self, path: str) -> tuple[int, Any]:
        """GET a path: its status and its JSON body."""
        async with self.session.get(self.url + path) as response:
            return response.status, await response.json(content_type=None)

    def log_lines(self) -> list[dict[str, Any]]:
        """The JSON lines that the present process (or the last one) has logged; other lines under `"text"`."""
        if not self.log.exists():
            return []
        text = self.log.read_bytes()[self._log_offset :].decode(errors="replace")
        return [_as_json(line) for line in text.splitlines() if line.strip()]

    def last_lines(self, count: int = 15) -> str:
        """The end of the log, for the message of a failure."""
        return "\n".join(json.dumps(line)[:2_000] for line in self.log_lines()[-count:])

    def _is_listening(self) -> bool:
        self._must_run()
        lines = self.log_lines()
        self.url = next((line["url"] for line in lines if line.get("event") == "listening"), "").rstrip("/")
        return self.url != ""

    def _must_run(self) -> None:
        if not self.is_running():
            assert self._process is not None, "nothing runs"
            code, self._process = self._process.returncode, None
            self.up.clear()
            raise ServerEnded(code, self.last_lines())

    def _whole_environment(self, more: Mapping[str, str] | None) -> dict[str, str]:
        """Ours without its NOTELOG_ settings and PORT: the tests speak of the defaults."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NOTELOG_") and name != "PORT"}
        return kept | self._environment | dict(more or {})


def _as_json(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {"text": line}
    return value if isinstance(value, dict) else {"text": line}
