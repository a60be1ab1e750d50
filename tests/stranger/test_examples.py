"""Every example of the documentation is run; those that no other test runs, here."""

import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import crossplane
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from service.http import requests
from service.http.protocol import KEEP_ALIVE_S
from service.settings import Secret
from tests.faults.process import Server
from tests.nats_servers import NatsServers
from tests.ports import lasting_port
from tests.service.running import Running
from tests.stranger.blocks import PAGES, REPOSITORY, Block, blocks
from tests.stranger.terminal import Prompt

DRAWING = "a drawing"
HUMAN = "tests/description/test_human_docs.py::test_every_example_happens_so"
WALK = "tests/stranger/test_walk.py::test_readme_and_tutorial"
HERE = "tests/stranger/test_examples.py"
RECORD = "tests/events/test_record.py"
# Who runs the blocks of a page, by their language and the word behind it.
RUN_BY = {
    ("README.md", ""): DRAWING,
    ("README.md", "sh"): WALK,
    ("README.md", "text"): WALK,
    ("docs/TUTORIAL.md", "sh"): WALK,
    ("docs/TUTORIAL.md", "text"): WALK,
    ("docs/API.md", "http"): HUMAN,
    ("docs/WEBSOCKET.md", "http"): HUMAN,
    ("docs/WEBSOCKET.md", ""): HUMAN,
    ("docs/ARCHITECTURE.md", ""): DRAWING,
    ("docs/CLIENT.md", "python"): "tests/client/test_docs_example.py::test_the_example_runs",
    ("docs/EVENTS.md", "json"): f"{HERE}::test_the_payload_of_events",
    ("docs/EVENTS.md", "json hashes"): f"{RECORD}::test_commands_and_requests",
    ("docs/EVENTS.md", "json leaf"): f"{RECORD}::test_the_published_vectors",
    ("docs/AUDIT.md", "json"): f"{HERE}::test_the_history_of_the_audit_page",
    ("docs/AUDIT.md", "sh"): "tests/audit/test_audit_page.py::test_the_commands_do_what_the_page_says",
    ("docs/AUDIT.md", "python"): "tests/audit/test_audit_page.py::test_the_commands_do_what_the_page_says",
    ("docs/OPERATIONS.md", "sh restore"): f"{HERE}::test_a_restore",
    ("docs/OPERATIONS.md", "sh install"): "tests/stranger/test_installation.py::test_an_installed_notelog_works",
    ("docs/OPERATIONS.md", "nginx"): f"{HERE}::test_the_proxy_is_configured",
    ("docs/SCALING.md", "sh"): f"{HERE}::test_two_nodes",
    ("docs/SCALING.md", "sh move"): f"{HERE}::test_a_move_to_the_distributed_log_and_back",
}


def block(page: str, language: str, where: str = "") -> Block:
    """The one block of a page with this language and the word behind it."""
    (found,) = [each for each in blocks(REPOSITORY / page) if (each.language, each.where) == (language, where)]
    return found


def test_each_block_is_run_by_a_test() -> None:
    """There is no example in README.md, CONTRIBUTING.md and docs/ that no test runs, and each test named is there."""
    for page in PAGES:
        for each in blocks(page):
            named = f"{each.language} {each.where}".strip()
            assert (each.page, named) in RUN_BY or (each.page, each.language) in RUN_BY, f"{each} is run by no test"
    for test in set(RUN_BY.values()) - {DRAWING}:
        file, _, name = test.partition("::")
        assert f"def {name}(" in (REPOSITORY / file).read_text(), test


@pytest.fixture
async def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """A service in this process on a new folder, not started; stopped at the end."""
    running = Running(tmp_path / "data", monkeypatch)
    yield running
    await running.stop()


async def test_the_payload_of_events(running: Running) -> None:
    """The payload that docs/EVENTS.md shows is what the creation of that note leaves in the log."""
    payload = json.loads(block("docs/EVENTS.md", "json").text)
    await running.start()
    await running.note(**payload)
    assert (await running.get("/events/1")).json["data"] == payload


async def test_the_history_of_the_audit_page(running: Running) -> None:
    """The entry of a history that docs/AUDIT.md shows is answered so, but for its time."""
    shown = json.loads(block("docs/AUDIT.md", "json").text)
    secret = b"a secret of at least thirty-two bytes"
    await running.start(auth_secret=Secret(secret))
    authorization = {"Authorization": f"Bearer {_token(secret, shown['actor'])}"}
    before, after = shown["changes"]["title"]
    for title in (before, "Salt", "Pepper"):
        assert (await running.post(json={"title": title}, **authorization)).status == 201
    assert (await running.patch("/notes/1", {"title": after}, **authorization)).status == 200
    (entry,) = (await running.get("/notes/1/history?after=1", **authorization)).json["history"]
    assert entry.keys() == shown.keys()
    assert {**entry, "at": ""} == {**shown, "at": ""}


def _token(secret: bytes, subject: str) -> str:
    claims = {"sub": subject, "scope": "notes:read notes:write audit:read", "exp": 4_000_000_000}
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(secret))


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder of programs to be found first; `notelog` is this one."""
    folder = tmp_path / "programs"
    folder.mkdir()
    program(folder, "notelog", f"PYTHONPATH='{REPOSITORY}' exec '{sys.executable}' -m service \"$@\"")
    return folder


def program(folder: Path, name: str, script: str) -> None:
    """Put a program there."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def environment(programs: Path, **more: str) -> dict[str, str]:
    """Ours without the settings of notelog, and with these programs before all others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NOTELOG_")}
    return kept | {"PATH": f"{programs}:{kept['PATH']}"} | more


# A service that systemd starts and stops, for where there is no systemd.
SYSTEMCTL = """
case "$1 $2" in
"stop notelog") kill -TERM "$(cat "$ROOT/pid")"; while kill -0 "$(cat "$ROOT/pid")" 2> /dev/null; do sleep 0.05; done ;;
"start notelog")
    notelog serve --data "$ROOT/var/lib/notelog" --port "$PORT" > "$ROOT/log" 2>&1 < /dev/null &
    echo $! > "$ROOT/pid"
    until curl -sf "http://127.0.0.1:$PORT/readyz" > /dev/null; do kill -0 $! && sleep 0.05; done ;;
*) exit 1 ;;
esac"""


@pytest.mark.needs("bash", "curl")
async def test_a_restore(programs: Path, tmp_path: Path) -> None:
    """The commands of docs/OPERATIONS.md bring a backup back: what it had is served, under another epoch."""
    lib, url = tmp_path / "var" / "lib", f"http://127.0.0.1:{(port := lasting_port())}"
    lib.mkdir(parents=True)
    program(programs, "systemctl", SYSTEMCTL)
    restore = block("docs/OPERATIONS.md", "sh", "restore").text.replace("/var/lib", str(lib))
    note = f"curl -sf {url}/notes -H 'Content-Type: application/json' -d "
    epoch = f"curl -sf {url}/readyz | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"epoch\"])'"
    async with Prompt(tmp_path, environment(programs, ROOT=str(tmp_path), PORT=str(port))) as prompt:
        await prompt.paste("systemctl start notelog")
        await prompt.paste(note + """'{"title": "before"}'""")
        await prompt.paste(f"notelog backup --data {lib}/notelog {lib}/notelog-backup")
        await prompt.paste(note + """'{"title": "too late"}'""")
        old = await prompt.paste(epoch)
        assert "everything holds" in await prompt.paste(restore)
        assert old != await prompt.paste(epoch)
        served = json.loads(await prompt.paste(f"curl -sf {url}/notes"))
        await prompt.paste("systemctl stop notelog")
    assert [note["title"] for note in served["notes"]] == ["before"]


def test_the_proxy_is_configured(tmp_path: Path) -> None:
    """nginx's own parser knows each directive of docs/OPERATIONS.md, where it stands and with what it is given; bodies
    and times fit what the service takes."""
    text = block("docs/OPERATIONS.md", "nginx").text
    (tmp_path / "nginx.conf").write_text(f"events {{}}\nhttp {{\n{text}}}\n")
    parsed = crossplane.parse(str(tmp_path / "nginx.conf"), strict=True)
    in_map = ('unknown directive "default"', 'unknown directive ""')  # it takes the rows of a map for directives
    assert [error["error"] for error in parsed["errors"] if not error["error"].startswith(in_map)] == []
    assert requests.BODY_BYTES_MAX == 2**20
    assert "client_max_body_size 1m;" in text
    upstream_s, idle_s = (int(found) for found in re.findall(r"keepalive_timeout (\d+)s;.*?(\d+) s", text)[0])
    assert upstream_s < idle_s == KEEP_ALIVE_S


@pytest.mark.needs("bash", "curl")
async def test_two_nodes(programs: Path, tmp_path: Path) -> None:
    """The commands of docs/SCALING.md: what was written at one node is read at another."""
    servers = NatsServers(tmp_path, 1)
    try:
        servers.start()
        await servers.ready()
        async with (
            Server(tmp_path / "first", "--log", servers.url) as first,
            Server(tmp_path / "second", "--log", servers.url) as second,
        ):
            await first.start()
            await second.start()
            commands = block("docs/SCALING.md", "sh").text
            for shown, node in (("localhost:8081", first), ("localhost:8083", second)):
                commands = commands.replace(shown, node.url)
            async with Prompt(tmp_path, environment(programs)) as prompt:
                printed = await prompt.paste(commands)
    finally:
        servers.kill()
    assert printed.count('{"id":1,"title":"Milk"') == 2


@pytest.mark.needs("bash")
async def test_a_move_to_the_distributed_log_and_back(programs: Path, tmp_path: Path) -> None:
    """The commands of docs/SCALING.md move a log into a stream, and into a folder again: a node of the one and the
    service of the other have its notes."""
    servers = NatsServers(tmp_path, 1)
    try:
        servers.start()
        await servers.ready()
        async with Server(tmp_path / "notelog-data") as before:
            await before.start()
            async with before.session.post(before.url + "/notes", json={"title": "Milk"}) as made:
                note = await made.json()
            assert await before.stop() == 0
        commands = block("docs/SCALING.md", "sh", "move").text.replace("nats://host:4222", servers.url)
        async with Prompt(tmp_path, environment(programs)) as prompt:
            await prompt.paste(commands)
        for moved in (Server(tmp_path / "node", "--log", servers.url), Server(tmp_path / "notelog-again")):
            async with moved:
                await moved.start()
                assert await moved.read("/notes/1") == (200, note)
    finally:
        servers.kill()
