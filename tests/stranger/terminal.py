"""Terminals: one in which commands are pasted one after the other, and those in which something stays running."""

import asyncio
import contextlib
import os
import signal
import subprocess
from pathlib import Path
from types import TracebackType

# Far more than anything takes but a first installation: only what hangs meets it.
ENDS_WITHIN_S = 60.0
SHELL = ("bash", "-e", "-o", "pipefail")


class CommandFailed(AssertionError):
    """A pasted command ended with an error, or did not end."""


class Prompt:
    """A shell that outlives its commands: variables that one block sets are there for the next."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._end = f"end of block {os.urandom(8).hex()}"

    async def __aenter__(self) -> "Prompt":
        self._process = await asyncio.create_subprocess_exec(
            *SHELL, cwd=self._folder, env=self._environment, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, limit=2**24,
        )  # fmt: skip
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.communicate()

    async def paste(self, text: str) -> str:
        """Run a block to its end; what it printed. Raises CommandFailed when one of its commands fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{text}\nprintf '%s' '{self._end}'\n".encode())
        try:
            async with asyncio.timeout(ENDS_WITHIN_S):
                printed = await self._process.stdout.readuntil(self._end.encode())
        except asyncio.IncompleteReadError as error:
            raise CommandFailed(f"failed:\n{text}\nafter it printed:\n{error.partial.decode()}") from None
        except TimeoutError:
            raise CommandFailed(f"did not end in {ENDS_WITHIN_S} s:\n{text}") from None
        return printed.decode().removesuffix(self._end)


class Terminal:
    """One command that stays, such as a service, until Ctrl-C."""

    def __init__(self, folder: Path, environment: dict[str, str], output: Path) -> None:
        self._folder = folder
        self._environment = environment
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def shown(self) -> str:
        """What the command has printed so far."""
        return self._output.read_text(errors="replace")

    @property
    def ended(self) -> bool:
        """Whether nothing runs."""
        return self._process is None or self._process.poll() is not None

    def start(self, text: str) -> None:
        """Paste a command."""
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [*SHELL, "-c", text], cwd=self._folder, env=self._environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip

    async def interrupt(self) -> None:
        """Ctrl-C, and wait until all is gone. Where nothing runs: nothing. Raises CommandFailed when it stays."""
        await self._send(signal.SIGINT)

    async def kill(self) -> None:
        """End it at once."""
        await self._send(signal.SIGKILL)

    async def _send(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            await asyncio.to_thread(process.wait, ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise CommandFailed(f"{number.name} does not end it; it has shown:\n{self.shown}") from None
