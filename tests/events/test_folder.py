"""The data folder belongs to one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from events.errors import FolderError, FolderInUse
from events.folder import DataFolder

ROOT = Path(__file__).resolve().parents[2]
LOCK_AND_WAIT = (
    "import sys; from pathlib import Path; from events.folder import DataFolder; "
    "DataFolder(Path(sys.argv[1])).lock(); print('locked', flush=True); sys.stdin.read()"
)
ASK_FOR_EVER = (
    "import sys; from pathlib import Path; from events.folder import DataFolder\n"
    "folder = DataFolder(Path(sys.argv[1])); print('asking', flush=True)\n"
    "while True: folder.is_in_use()"
)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """While one process has the folder another is told who has it; when that one dies the folder is free."""
    command = [sys.executable, "-c", LOCK_AND_WAIT, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(FolderInUse, match=f"process {holder.pid}"):
            DataFolder(tmp_path).lock()
        holder.kill()
    folder = DataFolder(tmp_path)
    folder.lock()
    folder.unlock()
    folder.unlock()
    DataFolder(tmp_path).lock()


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """A folder that is not there is made, and nobody else may look into it."""
    folder = DataFolder(tmp_path / "a" / "b")
    folder.lock()
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.unlock()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A path that is a file is refused with a sentence, not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="cannot be used"):
        DataFolder(tmp_path / "file").lock()


def test_who_asks_whether_the_folder_is_in_use_stops_no_start(tmp_path: Path) -> None:
    """While others ask all the time, which takes the lock for a moment each, the folder can be locked every time."""
    folder = DataFolder(tmp_path)
    folder.lock()
    folder.unlock()
    command = [sys.executable, "-c", ASK_FOR_EVER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as asking:
        assert asking.stdout is not None
        assert asking.stdout.readline() == b"asking\n"
        try:
            for _ in range(200):
                folder = DataFolder(tmp_path)
                folder.lock()
                folder.unlock()
        finally:
            asking.kill()


def test_the_entry_of_a_new_folder_is_brought_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut after the first start must not take the folder: what names it, and those above it, is synced."""
    synced, fsync = set(), os.fsync

    def note_and_sync(file: int) -> None:
        synced.add(Path(os.readlink(f"/proc/self/fd/{file}")))
        fsync(file)

    monkeypatch.setattr(os, "fsync", note_and_sync)
    folder = DataFolder(tmp_path / "a" / "b")
    folder.lock()
    folder.unlock()
    assert synced == {tmp_path, tmp_path / "a"}
