"""docs/OPERATIONS.md: it names everything that there is, and its restore works as it stands there."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from service import problems, settings
from service.cli import serve
from service.live import messages
from service.live.close_codes import CLOSE_CODES
from tests.faults.process import REPOSITORY, Server
from tests.safety.history import read_log
from tests.tools import need

PAGE = (REPOSITORY / "docs" / "OPERATIONS.md").read_text()
UNITS = REPOSITORY / "deploy" / "systemd"


def row(name: str) -> str:
    """The row of a table that begins with the name."""
    rows = [line for line in PAGE.splitlines() if re.match(rf"\| `?{re.escape(name)}`? ", line)]
    assert len(rows) == 1, f"expected one row for {name}, got {rows}"
    return rows[0]


def test_every_setting_is_there() -> None:
    """Each flag and variable that the service reads stands in the page."""
    names = {*settings.ENVIRONMENT, *(flag for option in serve.params for flag in option.opts)}
    for option in serve.params:
        names |= {option.envvar} if isinstance(option.envvar, str) else set(option.envvar or ())
    hidden = {"--require-if-match", "--access-log"}  # their variables are what the interface names
    for name in names - hidden:
        assert f"`{name}`" in PAGE, name


def test_every_error_is_there() -> None:
    """Each kind of problem, close code and error code stands in the page, with its status."""
    for problem in problems.PROBLEMS.values():
        assert f"| {problem.status} |" in row(problem.slug), problem.slug
    for close in CLOSE_CODES:
        assert ("does not come back" in row(str(close.code))) <= (not close.come_back), close
    for code in get_args(messages.ErrorCode):
        assert f"`{code}`" in PAGE, code


def test_every_scope_and_number_is_there() -> None:
    """Each scope, and each number to watch, stands in the page."""
    for scope in ("notes:read", "notes:write", "audit:read"):
        assert f"`{scope}`" in row(scope)
    for name in re.findall(r"`notelog_(\w+)`", PAGE):
        assert name.removesuffix("_total") in (REPOSITORY / "service" / "metrics.py").read_text(), name


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!https?:|#)([^)]+)\)", PAGE))))
def test_every_link_leads_somewhere(link: str) -> None:
    """Files that the page names are there."""
    assert (REPOSITORY / "docs" / link).exists(), link


def test_the_units_are_good(tmp_path: Path) -> None:
    """systemd finds nothing to say about the units, and rates the service's exposure as low."""
    need("systemd-analyze")
    for unit in UNITS.glob("notelog*"):
        # The program is not installed here.
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/notelog/.venv/bin/notelog", "/bin/true"))
    units = sorted(str(unit) for unit in tmp_path.iterdir() if unit.suffix in (".service", ".timer"))
    assert len(units) == 3
    verified = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=30, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=25", str(tmp_path / "notelog.service")],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert rated.returncode == 0, rated.stdout[-300:]


async def notelog(*arguments: str) -> str:
    """Run a command that must succeed; what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", *arguments, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    return out.decode()


async def write(server: Server, *titles: str) -> None:
    """Make notes."""
    for title in titles:
        async with server.session.post(server.url + "/notes", json={"title": title}) as made:
            assert made.status == 201


async def resume(server: Server, after: int, epoch: str) -> dict[str, Any]:
    """The answer to a subscriber that comes back."""
    async with server.session.ws_connect(server.url + "/ws") as socket:
        await socket.receive_json(timeout=10)
        await socket.send_json({"type": "subscribe", "id": "s", "feed": "events", "after": after, "epoch": epoch})
        return dict(await socket.receive_json(timeout=10))


async def test_a_backup_can_be_restored(tmp_path: Path) -> None:
    """Backed up twice beside a running service, and restored: all events up to the backup, under a new epoch."""
    data, copy, restored = tmp_path / "data", tmp_path / "copy", tmp_path / "restored"
    async with Server(data) as server:
        await server.start()
        await write(server, "first", "second")
        await notelog("backup", "--data", str(data), str(copy))
        await write(server, "third")
        await notelog("backup", "--data", str(data), str(copy))
        _, before = await server.read("/readyz")
        await write(server, "too late")
    await notelog("verify", "--data", str(copy))
    shutil.copytree(copy, restored)
    shutil.copy(data / "ledger-key.pem", restored)
    async with Server(restored) as server:
        await server.start()
        _, after = await server.read("/readyz")
        assert (after["head"], before["head"]) == (3, 3)
        assert after["epoch"] != before["epoch"]
        _, page = await server.read("/notes")
        assert [note["title"] for note in page["notes"]] == ["first", "second", "third"]
        reset = await resume(server, 4, before["epoch"])
        assert (reset["type"], reset["epoch"], reset["head"]) == ("reset", after["epoch"], 3)
        await write(server, "after the restore")
        assert await server.stop() == 0
        await server.start()
        _, again = await server.read("/readyz")
        assert again["epoch"] == after["epoch"], "a restored log keeps the epoch that it got"
    assert [event.title for event in read_log(restored)] == ["first", "second", "third", "after the restore"]
    found = json.loads(await notelog("doctor", "--data", str(restored), "--json"))
    assert before["epoch"] in str(found), "the log does not remember whose copy it is"
