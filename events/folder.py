"""The data folder: the names in it, and the lock that gives it to one process."""

import fcntl
import os
import time
from pathlib import Path

from events.errors import FolderError, FolderInUse, LogUnavailable

# Room that a commit leaves on the disk, so that the projections can follow and reads go on when it is full.
RESERVE_BYTES = 8 * 1024 * 1024
RESERVE_SHARE = 1 / 8  # of a small file system
# Who asks whether the folder is in use holds its lock for a moment: a start must not end at that.
LOCK_WITHIN_S = 0.3
LOCK_AGAIN_S = 0.02


class DataFolder:
    """A folder with ``events.db`` (the truth), ``notes.db`` (projections, can be deleted) and ``ledger.db``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events = path / "events.db"
        self.notes = path / "notes.db"
        self.ledger = path / "ledger.db"
        self._lock_file: int | None = None

    def files(self) -> list[Path]:
        """The databases and their write-ahead logs, whether they are there or not."""
        databases = (self.events, self.notes, self.ledger)
        return [file for database in databases for file in (database, database.with_name(f"{database.name}-wal"))]

    def owns(self, path: Path) -> bool:
        """Whether the path is one of the service's files, under whatever name: nothing else may be put there."""
        names = ("lock", self.events.name, self.notes.name, self.ledger.stem)
        if path.name.startswith(names) and path.parent.resolve() == self.path.resolve():
            return True
        return path.exists() and any(path.samefile(own) for own in self.path.iterdir() if own.name.startswith(names))

    def lock(self) -> None:
        """Take the folder for this process, making it if it is not there. The kernel frees it when we die.

        Raises ``FolderInUse`` when another process has it, ``FolderError`` when it cannot be written.
        """
        try:
            self._make()
            lock_file = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FolderError(f"the data folder {self.path} cannot be used: {error.strerror}") from error
        if not _is_locked_within(lock_file, LOCK_WITHIN_S):
            holder = os.read(lock_file, 100).decode(errors="replace").strip()
            os.close(lock_file)
            raise FolderInUse(str(self.path), holder)
        self._sign(lock_file)
        self._lock_file = lock_file

    def _make(self) -> None:
        """Make the folder, and those above it, on disk: a power cut must not take it with all that is in it."""
        missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in missing:
            sync(folder.parent)

    def unlock(self) -> None:
        """Give the folder back. Twice is fine."""
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def is_in_use(self) -> bool:
        """Whether a process has the folder right now."""
        try:
            lock_file = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(lock_file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock_file)
        return False

    @staticmethod
    def _sign(lock_file: int) -> None:
        """Leave our process id for the error message of whoever comes second. A full disk must not stop a start."""
        try:
            os.ftruncate(lock_file, 0)
            os.write(lock_file, f"process {os.getpid()}\n".encode())
        except OSError:
            pass


def _is_locked_within(lock_file: int, seconds: float) -> bool:
    """Lock the file, trying again for a while."""
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(LOCK_AGAIN_S)


def require_room(folder: Path, batch_bytes: int) -> None:
    """Refuse with ``LogUnavailable`` a commit that would leave too little room for the projections that follow it."""
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        raise LogUnavailable(f"the folder {folder} cannot be reached: {error.strerror}") from error
    free_bytes = disk.f_bavail * disk.f_frsize
    reserve_bytes = min(RESERVE_BYTES, int(disk.f_blocks * disk.f_frsize * RESERVE_SHARE))
    if free_bytes < reserve_bytes + 4 * batch_bytes:
        raise LogUnavailable(f"the disk is full: {free_bytes} bytes are free in {folder}, make room there")


def reading_uri(path: Path) -> str:
    """How SQLite opens a database only to read it.

    Beside one with a write-ahead log it makes files, even for that; where it cannot, and no such log is left, nobody
    else writes either, and the file is said not to change (sqlite.org/uri.html#uriimmutable).
    """
    alone = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"


def sync(path: Path) -> None:
    """Bring a file to disk, or what a folder says of the files in it (fsync(2))."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
