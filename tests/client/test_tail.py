"""``notelog tail`` as a process: what it prints where, over a restart, and how it ends."""

import asyncio
import json
import os
import pty
import signal
import sys
from asyncio.subprocess import PIPE, Process
from typing import Any

from tests.client.cutter import Cutter
from tests.faults.process import REPOSITORY
from tests.service.running import WITHIN_S, Running, until


async def tail(*arguments: str, stdout: int = PIPE, **environment: str) -> Process:
    """The command, started."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("NOTELOG_")}
    command = (sys.executable, "-m", "service", "tail", *arguments)
    return await asyncio.create_subprocess_exec(
        *command, cwd=REPOSITORY, stdout=stdout, stderr=PIPE, env=known | environment
    )


async def lines(process: Process, count: int) -> list[Any]:
    """So many lines of what it prints, as JSON."""
    assert process.stdout is not None
    return [json.loads(await asyncio.wait_for(process.stdout.readline(), WITHIN_S)) for _ in range(count)]


async def ended(process: Process) -> tuple[int | None, str]:
    """Its exit code, and what it said on stderr."""
    assert process.stderr is not None
    said = await asyncio.wait_for(process.stderr.read(), WITHIN_S)
    return await asyncio.wait_for(process.wait(), WITHIN_S), said.decode()


async def test_lines_over_a_restart_and_ctrl_c(notelog: Running, cutter: Cutter) -> None:
    """In a pipe each event is one line of JSON, once, over a restart of the service; Ctrl-C ends it with 0."""
    await notelog.note("Milk")
    await notelog.note("Bread")
    process = await tail("--url", cutter.url, "--after", "0")
    first = await lines(process, 2)
    await notelog.restart()
    await notelog.patch("/notes/1", {"priority": 1})
    events = [*first, *await lines(process, 1)]
    assert events == (await notelog.get("/events")).json["events"]
    process.send_signal(signal.SIGINT)
    code, said = await ended(process)
    assert code == 0
    assert "Traceback" not in said
    assert "trying again" in said


async def test_a_closed_pipe_ends_it(notelog: Running) -> None:
    """When nobody reads any more it ends by itself, without a word, though nothing happens that it could print."""
    await notelog.note("Milk")
    read_end, write_end = os.pipe()
    process = await tail("--url", notelog.url, "--after", "0", "--feed", "notes", stdout=write_end)
    os.close(write_end)
    line = await asyncio.wait_for(asyncio.to_thread(os.read, read_end, 65536), WITHIN_S)
    assert json.loads(line)["title"] == "Milk"
    os.close(read_end)
    assert await ended(process) == (0, "")


async def test_on_a_terminal_it_is_coloured_and_harmless(notelog: Running) -> None:
    """On a terminal a line has colours, and nothing that a note says can command the terminal."""
    await notelog.note("\x1b]0;owned\x07 \x9b31m")
    ours, its = pty.openpty()
    process = await tail("--url", notelog.url, "--after", "0", stdout=its, TERM="xterm-256color")
    os.close(its)
    os.set_blocking(ours, False)
    shown = bytearray()

    def printed() -> bool:
        try:
            shown.extend(os.read(ours, 65536))
        except BlockingIOError:
            pass
        return b"owned" in shown and shown.endswith(b"\n")

    await until(printed, "the event is on the terminal")
    process.send_signal(signal.SIGINT)
    assert await ended(process) == (0, "")
    os.close(ours)
    text = shown.decode()
    assert "\x1b[32m NoteCreated" in text
    assert "\x1b]" not in text
    assert "\x9b" not in text


async def test_a_bad_token_is_a_wrong_setting(stopped: Running) -> None:
    """Who may not follow is told so in one line that names the setting, with exit code 2."""
    await stopped.start(auth_secret=b"0" * 32)
    code, said = await ended(await tail("--url", stopped.url, NOTELOG_TOKEN="rubbish"))
    assert code == 2
    assert said.startswith("notelog: NOTELOG_TOKEN: ")
    assert said.count("\n") == 1


async def test_what_is_no_url_is_a_wrong_setting() -> None:
    """It is refused at once, with exit code 2 and one line that names it, and not tried again for ever."""
    for url in (
        "ftp://127.0.0.1",
        "nonsense",
        "http://",
        "http://[1",
        "http://a b",
        "http://a..b",
        "http://127.0.0.1:many",
    ):
        code, said = await ended(await tail("--url", url))
        assert (code, len(said.splitlines())) == (2, 1)
        assert "--url" in said
        assert url in said
