"""A module of ours in a process of its own, told by lines on its stdin and answering by lines on its stdout."""

from __future__ import annotations

import select
import subprocess
import sys

END_S_MAX = 5.0


class Child:
    """The process; who starts one ends it."""

    def __init__(self, module: str, *arguments: str) -> None:
        """Starts it."""
        self._module = module
        argv = [sys.executable, "-m", module, *arguments]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, line: str) -> None:
        """One line to it."""
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def answer(self, seconds_max: float) -> str:
        """Its next line. It says one at a time, so nothing is left in a buffer that `select` does not see.

        Raises TimeoutError when none comes in time, ConnectionError when the process has ended.
        """
        assert self._process.stdout
        if not select.select([self._process.stdout], [], [], seconds_max)[0]:
            raise TimeoutError(f"{self._module}: expected an answer within {seconds_max:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise ConnectionError(f"{self._module} has ended")
        return line.strip()

    def end(self) -> None:
        """Closes its stdin, at which it ends by itself; it is killed when it does not."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process.stdout.close()

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.wait()
