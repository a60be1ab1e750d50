"""A clock of the service's own, that can be set while it runs, as an operator or a dead battery sets a machine's.

Only the time of day jumps: the monotonic clock goes on, as it does when a real clock is set.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.tools import need


class Clock:
    """What libfaketime is told. A process sees it that is started with `environment`."""

    def __init__(self, folder: Path) -> None:
        need("faketime")
        said = subprocess.run(
            ["faketime", "-m", "-f", "+0", "printenv", "LD_PRELOAD"], check=True, capture_output=True, text=True
        )
        self._file = folder / "clock"
        self.environment = {
            "LD_PRELOAD": said.stdout.strip(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # with it, waits of threads that contend end at once, and they spin
        }
        self.set(0)

    def set(self, ahead_s: int) -> None:
        """From now on the clock is so far ahead of the true one; below 0: behind it."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead_s:+d}\n")
        os.replace(new, self._file)  # never half of it
