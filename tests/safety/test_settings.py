"""What the settings of safety may be, and that a wrong one ends the start instead of being overlooked."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from events.nats_settings import NatsSettings
from service.cli import main
from service.settings import Secret, Settings, WrongSetting, from_environment
from tests.faults.process import REPOSITORY, Server
from tests.safety.issuer import SECRET

SECRET_TEXT = SECRET.decode()
KEYS = "keys.json"


def notelog(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without the settings that stand in our own environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NOTELOG_")}
    command = [sys.executable, "-m", "service", *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=kept | environment, capture_output=True, text=True, timeout=30, check=False
    )


WRONG: dict[str, dict[str, str]] = {
    "NOTELOG_AUTH_SECRET": {"NOTELOG_AUTH_SECRET": "x" * 31},
    "NOTELOG_AUTH_SECRET: is set, and empty": {"NOTELOG_AUTH_SECRET": ""},
    "NOTELOG_AUTH_JWKS: is set, and empty": {"NOTELOG_AUTH_JWKS": " "},
    "NOTELOG_AUTH_SECRET and NOTELOG_AUTH_JWKS": {"NOTELOG_AUTH_SECRET": SECRET_TEXT, "NOTELOG_AUTH_JWKS": KEYS},
    "NOTELOG_AUTH_ISSUER": {"NOTELOG_AUTH_ISSUER": "https://identity.example"},
    "NOTELOG_AUTH_AUDIENCE": {"NOTELOG_AUTH_AUDIENCE": "notelog"},
    "NOTELOG_ALLOWED_ORIGINS": {"NOTELOG_ALLOWED_ORIGINS": "notes.example"},
    "NOTELOG_MAX_CONNECTIONS": {"NOTELOG_MAX_CONNECTIONS": "0"},
    "NOTELOG_MAX_CONNECTIONS_PER_ADDRESS": {"NOTELOG_MAX_CONNECTIONS_PER_ADDRESS": "-1"},
    "NOTELOG_RATE_LIMIT": {"NOTELOG_RATE_LIMIT": "often"},
}


@pytest.mark.parametrize("named", WRONG)
def test_a_wrong_setting_is_refused_by_name(named: str) -> None:
    """A setting that cannot be meant is not overlooked."""
    with pytest.raises(WrongSetting, match=named):
        Settings(**from_environment(WRONG[named])).check()


def test_a_wrong_setting_ends_the_start_with_one_line(tmp_path: Path) -> None:
    """``serve`` ends with exit code 2 and one line that names the setting and repeats no secret."""
    ended = notelog("serve", "--data", str(tmp_path / "data"), "--port", "0", NOTELOG_AUTH_SECRET="too-short-a-secret")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "NOTELOG_AUTH_SECRET" in ended.stderr
    assert "too-short-a-secret" not in ended.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "log",
    [
        "http://bob:swordfish@notes.example",
        "bob:swordfish@notes.example:4222",
        "nats://bob:swordfish@127.0.0.1:1,bob:swordfish@127.0.0.1:2,",
    ],
)
def test_a_wrong_log_does_not_repeat_its_password(tmp_path: Path, log: str) -> None:
    """What is said of a ``--log`` that cannot be used names the setting, and not who may use the servers."""
    ended = notelog("serve", "--data", str(tmp_path / "data"), "--port", "0", "--log", log)
    assert ended.returncode == 2
    assert "--log" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "swordfish" not in ended.stderr + ended.stdout


def test_servers_are_shown_without_who_may_use_them() -> None:
    """Errors of the distributed log name its servers, and nothing that stands before their names."""
    nats = NatsSettings.of_url("nats://bob:sword@fish@one.example:4222,token@two.example,three.example:4333")
    assert nats.shown_servers == "nats://one.example:4222, nats://two.example, nats://three.example:4333"


def test_an_open_address_needs_authentication(tmp_path: Path) -> None:
    """Without tokens a host that others reach is refused, unless the operator says that it is meant."""
    ended = notelog("serve", "--host", "0.0.0.0", "--port", "0", "--data", str(tmp_path / "data"))
    assert ended.returncode == 2
    assert "--insecure" in ended.stderr
    Settings(host="0.0.0.0", insecure=True).check()
    Settings(host="0.0.0.0", auth_secret=Secret(SECRET)).check()
    Settings(host="0.0.0.0", auth_jwks=KEYS).check()
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        Settings(host=host).check()
    for host in ("0.0.0.0", "::", "192.0.2.1", "notes.example", ""):
        with pytest.raises(WrongSetting, match="--host"):
            Settings(host=host).check()


def test_an_empty_limit_is_no_limit() -> None:
    """What is set to nothing, as in an empty line of a unit file, is as if it were not set."""
    names = ("ALLOWED_ORIGINS", "MAX_CONNECTIONS", "MAX_CONNECTIONS_PER_ADDRESS", "RATE_LIMIT")
    assert from_environment({f"NOTELOG_{name}": "" for name in names}) == {}


def test_settings_do_not_show_the_secret() -> None:
    """Whoever prints the settings, into a log or a report, prints no secret."""
    settings = Settings(**from_environment({"NOTELOG_AUTH_SECRET": SECRET_TEXT}))
    assert settings.auth_secret == SECRET
    assert SECRET_TEXT not in repr(settings)
    assert SECRET_TEXT not in str(settings)


async def test_a_token_of_the_command_is_let_in(server: Server) -> None:
    """``notelog token`` makes what the service takes, with issuer and audience where they are set."""
    environment = {
        "NOTELOG_AUTH_SECRET": SECRET_TEXT,
        "NOTELOG_AUTH_ISSUER": "https://identity.example",
        "NOTELOG_AUTH_AUDIENCE": "notelog",
    }
    made = notelog("token", "--sub", "alice", "--scope", "notes:read notes:write", "--json", **environment)
    assert made.returncode == 0, made.stderr
    answer = json.loads(made.stdout)
    assert abs(answer["expires_at"] - time.time() - 30 * 86400) < 60
    await server.start(environment=environment)
    headers = {"Authorization": f"Bearer {answer['token']}"}
    async with server.session.post(server.url + "/notes", json={"title": "Milk"}, headers=headers) as response:
        assert (response.status, (await response.json())["created_by"]) == (201, "alice")
    async with server.session.get(server.url + "/events", headers=headers) as response:
        assert response.status == 403


@pytest.mark.parametrize(
    "arguments",
    [
        ("--sub", "alice"),
        ("--sub", "alice", "--scope", "notes:delete"),
        ("--sub", "alice", "--scope", ""),
        ("--sub", "", "--scope", "notes:read"),
        ("--sub", "x" * 201, "--scope", "notes:read"),
        ("--sub", "alice", "--scope", "notes:read", "--ttl", "forever"),
        ("--sub", "alice", "--scope", "notes:read", "--ttl", "0d"),
    ],
)
def test_a_token_that_would_not_be_taken_is_not_made(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong argument ends with 2 and one line, and prints no token."""
    monkeypatch.setenv("NOTELOG_AUTH_SECRET", SECRET_TEXT)
    monkeypatch.setattr(sys, "argv", ["notelog", "token", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert printed.err.count("\n") == 1


def test_without_a_secret_there_is_no_token() -> None:
    """The command names the setting that it needs."""
    ended = notelog("token", "--sub", "alice", "--scope", "notes:read")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "NOTELOG_AUTH_SECRET" in ended.stderr
