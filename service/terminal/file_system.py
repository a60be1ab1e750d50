"""What lies under a folder: which kind of file system, and how much room. Linux says; elsewhere the kind is unknown."""

import os
import re
from pathlib import Path

from msgspec import Struct

# Kinds on which SQLite's locks and shared memory do not hold between machines (sqlite.org/wal.html, §1).
NETWORK = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2"),
        *("smb2", "smb3", "smbfs", "fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs"),
        "fuse.sshfs",
    }
)
# Kinds whose files are gone after the next start: of the machine, or of the container.
PASSING = {"tmpfs": "the memory of this machine", "ramfs": "the memory of this machine", "overlay": "a container"}


class FileSystem(Struct, frozen=True):
    """Where a folder lies. ``kind``: None where nobody says it."""

    mount: str | None
    kind: str | None
    free_bytes: int
    size_bytes: int


def file_system_of(folder: Path) -> FileSystem:
    """The file system of a folder, or, if it is not there yet, of the nearest one above it."""
    there = folder.resolve()
    while not there.exists():
        there = there.parent
    disk = os.statvfs(there)
    mount, kind = _mount_of(there)
    return FileSystem(mount, kind, disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)


def _mount_of(folder: Path) -> tuple[str | None, str | None]:
    """The mount with the longest path above the folder; of two at one place, the later one lies on top."""
    try:
        table = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return None, None
    found: tuple[str | None, str | None] = (None, None)
    longest = -1
    for line in table.splitlines():
        mount, kind = _parsed(line)
        if folder.is_relative_to(mount) and len(mount) >= longest:
            found, longest = (mount, kind), len(mount)
    return found


def _parsed(line: str) -> tuple[str, str]:
    """The place and the kind of a line (proc_pid_mountinfo(5)); spaces in a place are written as \\040."""
    before, _, after = line.partition(" - ")
    place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), before.split(" ")[4])
    return place, after.split(" ")[0]
