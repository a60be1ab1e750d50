"""A small disk of its own, that can be filled to the last page and emptied again."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.tools import cannot_run, need

PAGE_BYTES = 4096


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A tmpfs of that size, mounted on `folder` and unmounted at the end. Where that is not allowed: tests/tools.py."""
    need("mount")
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        cannot_run(f"cannot mount a tmpfs (needs root): {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, leave_bytes: int = 0) -> int:
    """Take all the room that is left, or all but so much; the bytes taken in all."""
    with (disk / "filler").open("ab", buffering=0) as filler:
        try:
            while free_bytes(disk) > leave_bytes and filler.write(bytes(PAGE_BYTES)):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        return filler.tell()


def free_bytes(disk: Path) -> int:
    """The room that is left."""
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def make_room(disk: Path) -> None:
    """Give back what `fill` took."""
    (disk / "filler").unlink()


def grow(disk: Path, size_bytes: int) -> None:
    """Make the disk larger, as an operator does with a volume."""
    subprocess.run(["mount", "-o", f"remount,size={size_bytes}", str(disk)], check=True)
