"""The machine and the versions that figures were measured with."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version


def description() -> str:
    """One line: day, machine, versions, and how busy the machine was with other things."""
    parts = [
        datetime.now(UTC).strftime("%Y-%m-%d"),
        f"{os.cpu_count()} cores ({processor()}), {memory_gib():.0f} GiB",
        f"{platform.system()} {platform.release()}",
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in ("aiohttp", "aiosqlite", "uvloop", "msgspec")),
        f"SQLite {sqlite3.sqlite_version}",
    ]
    return ", ".join(parts) + "."


def processor() -> str:
    """The processor's name, from /proc/cpuinfo."""
    with open("/proc/cpuinfo") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def memory_gib() -> float:
    """Physical memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3


def idle_share(seconds: float = 1.0) -> float:
    """The share of the machine's CPU that nobody uses before a measurement begins: 1.0 is a quiet machine."""
    before = _ticks()
    subprocess.run(["sleep", str(seconds)], check=True)
    passed = [after - start for after, start in zip(_ticks(), before, strict=True)]
    return (passed[3] + passed[4]) / max(1, sum(passed))


def _ticks() -> list[int]:
    with open("/proc/stat") as lines:
        return [int(field) for field in lines.readline().split()[1:9]]
