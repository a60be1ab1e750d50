"""``notelog doctor``: what it says of a service that runs, and of what is wrong."""

import asyncio
import json
import os
import secrets
import shutil
import sqlite3
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

from service.terminal.file_system import file_system_of
from tests.audit.folders import beside
from tests.faults.process import REPOSITORY
from tests.service.running import WITHIN_S, Running


async def doctor(data: Path, *arguments: str, **environment: str) -> tuple[int | None, str]:
    """Its exit code, and what it prints."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("NOTELOG_")}
    command = (sys.executable, "-m", "service", "doctor", "--data", str(data))
    process = await asyncio.create_subprocess_exec(
        *command, *arguments, cwd=REPOSITORY, stdout=PIPE, env=known | environment
    )
    printed, _ = await asyncio.wait_for(process.communicate(), WITHIN_S)
    return process.returncode, printed.decode()


async def report(data: Path, **environment: str) -> tuple[int | None, dict[str, Any]]:
    """Its exit code, and its report."""
    code, printed = await doctor(data, "--json", **environment)
    return code, json.loads(printed)


def errors(found: dict[str, Any]) -> list[str]:
    """What the errors are about."""
    return [remark["about"] for remark in found["remarks"] if remark["level"] == "error"]


async def test_beside_a_running_service(notelog: Running) -> None:
    """Of a sound service it says versions, who holds the folder, the log and every projection, and ends with 0."""
    for number in range(3):
        await notelog.note(f"note {number}")
    await notelog.get("/notes")
    code, found = await report(notelog.data)
    assert (code, found["ok"], errors(found)) == (0, True, [])
    assert found["in_use_by"] == f"process {os.getpid()}"
    assert (found["log"]["head"], found["log"]["epoch"]) == (3, notelog.log.epoch)
    assert found["projections"]["notes"] == {"checkpoint": 3, "lag": 0}
    assert set(found["projections"]) == set((await notelog.get("/readyz")).json["projections"])
    assert found["versions"]["sqlite"] == sqlite3.sqlite_version
    told = any(remark["about"] == "sqlite" and "WAL-reset" in remark["detail"] for remark in found["remarks"])
    assert told == (sqlite3.sqlite_version_info < (3, 51, 3))


async def test_secrets_are_not_shown(notelog: Running) -> None:
    """Neither a secret nor the password in a URL is printed, in either form."""
    secret, password = secrets.token_hex(32), secrets.token_hex(8)
    given = {"NOTELOG_AUTH_SECRET": secret, "NOTELOG_LOG": f"nats://user:{password}@127.0.0.1:4222"}
    for arguments in ((), ("--json",)):
        _, printed = await doctor(notelog.data, *arguments, **given)
        assert "(hidden)" in printed
        assert secret not in printed
        assert password not in printed


async def test_a_wrong_setting_ends_with_2(notelog: Running) -> None:
    """Each setting that cannot be used is named, all at once, and everything else is still said."""
    code, found = await report(notelog.data, NOTELOG_MAX_CONNECTIONS="many", NOTELOG_RATE_LIMIT="often")
    assert code == 2
    assert errors(found) == ["settings", "settings"]
    assert found["log"]["head"] == 0


async def test_what_is_wrong_ends_with_1(notelog: Running, tmp_path: Path) -> None:
    """No log, a key that others can read, a ledger of another log: each is an error, and its name says where."""
    code, found = await report(tmp_path / "nowhere")
    assert (code, errors(found)) == (1, ["log"])
    await notelog.note()
    await notelog.stop()
    (notelog.data / "ledger-key.pem").chmod(0o644)
    code, found = await report(notelog.data)
    assert (code, errors(found)) == (1, ["ledger key"])
    (notelog.data / "ledger-key.pem").chmod(0o600)
    with sqlite3.connect(notelog.data / "ledger.db") as ledger:
        ledger.execute("UPDATE checkpoints SET epoch = ?", ("0" * 32,))
    ledger.close()
    code, found = await report(notelog.data)
    assert (code, errors(found)) == (1, ["ledger"])
    shutil.copy(Path(__file__), notelog.data / "events.db")
    code, found = await report(notelog.data)
    assert code == 1
    assert "log" in errors(found)


async def test_a_file_that_cannot_be_read_is_blamed_itself(notelog: Running) -> None:
    """Garbage in notes.db or ledger.db is not said to be the log's, of which everything is still told."""
    await notelog.note()
    await notelog.stop()
    for name in ("notes.db", "ledger.db"):
        (notelog.data / name).write_bytes(b"something else" * 100)
    code, found = await report(notelog.data)
    assert (code, errors(found)) == (1, ["notes.db", "ledger.db"])
    assert found["log"]["head"] == 1


async def test_a_lost_ledger_is_an_error(notelog: Running) -> None:
    """The ledger of a log that was signed is never built over: doctor says the same of a lost one as the next start."""
    await notelog.note()
    await notelog.stop()
    (notelog.data / "ledger.db").unlink()
    code, found = await report(notelog.data)
    assert (code, errors(found)) == (1, ["ledger"])
    copy = notelog.data.parent / "copy"
    done = await beside("backup", "--data", notelog.data, copy)
    assert done.returncode == 0, done
    shutil.copy(notelog.data / "ledger-key.pem", copy)
    code, found = await report(copy)  # it was not signed under the epoch that its start gives it
    assert (code, errors(found)) == (0, [])
    (notelog.data / "ledger-key.pem").unlink()
    code, found = await report(notelog.data)
    assert (code, errors(found)) == (0, [])


def test_the_file_system_is_the_nearest_one(tmp_path: Path) -> None:
    """A folder that is not there yet lies where the nearest one above it does; /proc is known for what it is."""
    assert file_system_of(tmp_path / "a" / "b").mount == file_system_of(tmp_path).mount
    assert file_system_of(Path("/proc/self")).kind == "proc"
    assert file_system_of(tmp_path).free_bytes > 0
