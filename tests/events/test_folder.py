"""The data folder belongs to one process."""

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
