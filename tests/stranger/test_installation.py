"""`pip install` into an empty environment: a program that works, far from the repository."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from zipfile import ZipFile

import aiohttp
import pytest

from tests.faults.process import until
from tests.stranger.blocks import REPOSITORY, blocks
from tests.stranger.conftest import copy_checkout
from tests.stranger.terminal import Terminal

pytestmark = pytest.mark.needs("registry")

# An installation fetches some thirty packages.
INSTALLED_WITHIN_S = 240.0
LISTENS_WITHIN_S = 30.0
EMPTY_ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("NOTELOG_", "PYTHON", "OTEL_"))
}


def run(*command: str | Path, folder: Path, **more: str) -> str:
    """Run a command that must succeed, with these variables more; what it printed."""
    ran = subprocess.run(
        list(map(str, command)), cwd=folder, env=EMPTY_ENVIRONMENT | more,
        capture_output=True, text=True, timeout=INSTALLED_WITHIN_S, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, f"{command}:\n{ran.stdout}{ran.stderr}"
    return ran.stdout


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a system on which notelog was installed, with an empty environment, as docs/OPERATIONS.md says.

    The folders of the system are moved below one of the test, and what needs systemd itself is told and not done.
    """
    folder = tmp_path_factory.mktemp("system")
    root, tools, checkout = folder / "root", folder / "tools", copy_checkout(folder / "notelog")
    for needed in (tools, root / "opt", root / "etc/systemd/system", root / "usr/lib/sysusers.d"):
        needed.mkdir(parents=True)
    for tool in ("systemctl", "systemd-sysusers"):
        (tools / tool).write_text(f'#!/bin/sh\necho {tool} "$@" >> {root}/told\n')
        (tools / tool).chmod(0o755)
    (page,) = [block for block in blocks(REPOSITORY / "docs" / "OPERATIONS.md") if block.where == "install"]
    commands = re.sub(r"(?<![\w.])/(opt|etc|usr)/", rf"{root}/\1/", page.text)
    path = f"{tools}:{os.environ['PATH']}"
    run("bash", "-e", "-o", "pipefail", "-c", commands, folder=checkout, PATH=path)
    shutil.rmtree(checkout)
    return root


@pytest.fixture
def programs(system: Path) -> Path:
    """Where the installed programs are."""
    return system / "opt" / "notelog" / ".venv" / "bin"


@asynccontextmanager
async def served(programs: Path, folder: Path) -> AsyncIterator[str]:
    """`notelog serve` of that environment, in a folder where nothing else is; yields its URL."""
    terminal = Terminal(folder, EMPTY_ENVIRONMENT, folder / "serve.out")
    terminal.start(f"exec '{programs / 'notelog'}' serve --port 0 --data data")
    try:
        await until(lambda: terminal.ended or '"listening"' in terminal.shown, LISTENS_WITHIN_S, "serve listens")
        assert not terminal.ended, terminal.shown
        yield terminal.shown.partition('"url":"')[2].partition('"')[0]
        await terminal.interrupt()
    finally:
        await terminal.kill()


async def test_an_installed_notelog_works(programs: Path, tmp_path: Path) -> None:
    """Installed as docs/OPERATIONS.md says, `notelog` serves the dashboard with its files, the descriptions and the
    notes, and `notelog doctor` finds nothing wrong, though the repository is gone."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    async with served(programs, folder) as url, aiohttp.ClientSession(url) as session:
        page = await get(session, "/")
        parts = re.findall(r'(?:src|href)="(dashboard/[\w.-]+)"', page)
        assert len(parts) > 1, page
        for path in (*parts, "docs", "asyncapi.json"):
            assert await get(session, f"/{path}")
        assert "/notes" in json.loads(await get(session, "/openapi.json"))["paths"]
        async with session.post("/notes", json={"title": "Milk"}) as answer:
            assert answer.status == 201
        assert json.loads(await get(session, "/notes/1"))["title"] == "Milk"
        assert "nothing is wrong" in run(programs / "notelog", "doctor", "--data", "data", folder=folder)
    assert "everything holds" in run(programs / "notelog", "verify", "--data", "data", folder=folder)


def test_the_units_find_what_was_installed(system: Path, programs: Path, tmp_path: Path) -> None:
    """systemd is told to start units that are there; the program that they start is there; the file with the secret can
    be read by its owner alone, and a token can be made from it."""
    units = {unit.name: unit.read_text() for unit in (system / "etc/systemd/system").iterdir()}
    started = {command for text in units.values() for command in re.findall(r"^Exec\w+=(\S+)", text, re.MULTILINE)}
    assert {system / command[1:] for command in started} == {programs / "notelog"}
    assert (programs / "notelog").exists()
    *_, last = (system / "told").read_text().splitlines()
    assert last.startswith("systemctl enable --now ")
    assert set(last.split()[3:]) <= units.keys()
    secret = system / "etc/notelog/env"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    name, _, value = secret.read_text().strip().partition("=")
    token = ("token", "--sub", "ada", "--scope", "notes:read")
    assert run(programs / "notelog", *token, folder=tmp_path, **{name: value}).count(".") == 2


def test_the_wheel_has_what_is_read_at_run_time(checkout: Path, tmp_path: Path) -> None:
    """Every file of the three floors is in the wheel, whatever its ending, and nothing else."""
    built = tmp_path / "wheels"
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", built, checkout, folder=tmp_path)
    (wheel,) = built.iterdir()
    there = {
        path.relative_to(checkout).as_posix()
        for floor in ("events", "projections", "service")
        for path in (checkout / floor).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with ZipFile(wheel) as packed:
        assert {name for name in packed.namelist() if ".dist-info/" not in name} == there


async def get(session: aiohttp.ClientSession, path: str) -> str:
    """The text at a path that must be there."""
    async with session.get(path) as answer:
        assert answer.status == 200, path
        return await answer.text()
