"""What the data stands on: SQLite, the disk, who may look into the folder; and what is wrong with it."""

import os
import platform
import sqlite3
import stat
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from msgspec import Struct

from events.folder import RESERVE_BYTES, RESERVE_SHARE, DataFolder
from service.past.ledger_part import key_path
from service.settings import Settings
from service.terminal.file_system import NETWORK, PASSING, FileSystem
from service.version import VERSION

# sqlite.org/wal.html#walresetbug
SQLITE_SOUND = (3, 51, 3)
WAL_RESET = (
    "SQLite before 3.51.3 can corrupt a file when one connection checkpoints while another commits (the WAL-reset "
    "bug). notelog is safe: one connection of one process does all commits and checkpoints of a file. Let no other "
    "program write to the files, and take copies with notelog backup, not with tools that checkpoint"
)
PACKAGES = ("aiohttp", "aiosqlite", "msgspec", "orjson", "uvloop")

Level = Literal["error", "warning"]


class Remark(Struct, frozen=True):
    """Something that is wrong (``error``), or that an operator should know (``warning``), and what to do."""

    level: Level
    about: str
    detail: str


def versions() -> dict[str, str]:
    """Of notelog, and of all that it runs on."""
    found = {name: _version(name) for name in PACKAGES}
    return {
        "notelog": VERSION,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": platform.platform(),
        **{name: number for name, number in found.items() if number is not None},
    }


def _version(package: str) -> str | None:
    """None: it is not installed; only uvloop can be missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def about_sqlite() -> Iterator[Remark]:
    """Whether its version is sound."""
    if sqlite3.sqlite_version_info < SQLITE_SOUND:
        yield Remark("warning", "sqlite", f"this is {sqlite3.sqlite_version}: {WAL_RESET}")


def about_place(place: FileSystem, data_bytes: int) -> Iterator[Remark]:
    """Whether the file system keeps what is written, and has room for it."""
    if place.kind in NETWORK:
        yield Remark(
            "error", "file system", f"{place.mount} is {place.kind}, on a network: SQLite's locks do not hold there, "
            "and the log can be lost; use a disk of this machine"
        )  # fmt: skip
    elif place.kind in PASSING:
        yield Remark(
            "warning", "file system", f"{place.mount} is {place.kind}: its files go with {PASSING[place.kind]}; "
            "mount a disk there if the notes are to stay"
        )  # fmt: skip
    reserve_bytes = min(RESERVE_BYTES, int(place.size_bytes * RESERVE_SHARE))
    if place.free_bytes < reserve_bytes:
        detail = f"{place.free_bytes} bytes are free: below {reserve_bytes} the log takes no writes; make room"
        yield Remark("error", "disk", detail)
    elif place.free_bytes < data_bytes:
        detail = f"{place.free_bytes} bytes are free, the data has {data_bytes}: a rebuild beside it needs more room"
        yield Remark("warning", "disk", detail)


def about_folder(folder: DataFolder, settings: Settings) -> Iterator[Remark]:
    """Whether the service can use the folder and others cannot."""
    if not folder.path.is_dir():
        return
    if folder.path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Remark(
            "warning", "folder", f"others on this machine can look into {folder.path}: chmod 700 {folder.path}"
        )
    if not os.access(folder.path, os.R_OK | os.W_OK | os.X_OK):
        yield Remark("error", "folder", f"{folder.path} cannot be written by this user: give it to the service's user")
    key = key_path(settings.ledger_key, folder)
    if key.exists() and key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Remark("error", "ledger key", f"others on this machine can read {key}: chmod 600 {key}")
