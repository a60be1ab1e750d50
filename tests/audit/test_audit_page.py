"""docs/AUDIT.md under test: its commands and its code, as they stand there."""

import asyncio
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from projections import findings
from tests.audit.folders import REPOSITORY, WITHIN_S
from tests.faults.process import Server
from tests.tools import need

PAGE = (REPOSITORY / "docs" / "AUDIT.md").read_text()


def blocks(language: str) -> str:
    """Everything that the page says in a language, in order."""
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL))


def run(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """A program in a folder, to its end, with our packages where it looks for modules."""
    return subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )


async def test_the_commands_do_what_the_page_says(tmp_path: Path) -> None:
    """Run one after the other beside a service, then its code: all of it holds; with a changed entry it fails."""
    need("bash", "curl")
    async with Server(tmp_path / "data") as server:
        await server.start()
        for number in range(5):
            async with server.session.post(server.url + "/notes", json={"title": f"number {number}"}) as made:
                assert made.status == 201
        async with server.session.get(server.url + "/tlog/proof/5") as proof:  # waits until all are signed
            assert proof.status == 200
        script = blocks("sh").replace("https://notes.example", server.url).replace("DIR", shlex.quote(str(server.data)))
        program = shlex.join([sys.executable, "-m", "service"])
        done = await asyncio.to_thread(run, tmp_path, "bash", "-euc", f'notelog() {{ {program} "$@"; }}\n{script}')
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "log.ndjson").read_text().count("\n") == 5
    assert run(tmp_path, sys.executable, "-c", blocks("python")).returncode == 0
    entries = bytearray((tmp_path / "entries").read_bytes())
    entries[-1] ^= 1
    (tmp_path / "entries").write_bytes(entries)
    assert "CheckFailed" in run(tmp_path, sys.executable, "-c", blocks("python")).stderr


def test_the_checker_runs_alone(tmp_path: Path) -> None:
    """Copied to a place without the rest of the program, the file of the checks can still be imported."""
    shutil.copy(REPOSITORY / "service" / "checkpoint_checker.py", tmp_path)
    code = "import sys, checkpoint_checker; assert not {'service', 'events', 'projections'} & set(sys.modules)"
    done = run(tmp_path, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr


def test_every_finding_is_explained() -> None:
    """The page has a line for each word that verify may say."""
    words = {value for name, value in vars(findings).items() if name.isupper() and isinstance(value, str)}
    assert len(words) > 10
    assert not {word for word in words | {"checkpoint_contradicts"} if f"`{word}`" not in PAGE}
