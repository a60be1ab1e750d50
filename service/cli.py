"""The command ``notelog``. A wrong setting ends with exit code 2 and one line that names it."""

import asyncio
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import click

from events.errors import ClusterError, FolderError
from service.settings import ENVIRONMENT, Settings, WrongSetting, from_environment
from service.terminal import maintenance as maintenance_commands
from service.terminal import transfer as transfer_commands
from service.terminal.doctor import doctor_command
from service.terminal.output import EXIT_DOES_NOT_HOLD, drop_stdout
from service.terminal.tail import tail_command
from service.terminal.token import token
from service.terminal.verify import verify_command
from service.version import VERSION

EXIT_USAGE = 2


class Serve(click.Command):
    """``serve``, whose help also lists what is set in the environment only."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        hidden = [option for option in self.params if isinstance(option, click.Option) and option.hidden]
        rows = [(str(option.envvar), str(option.help)) for option in hidden]
        with formatter.section("In the environment only (all of docs/OPERATIONS.md in a line each)"):
            formatter.write_dl([*rows, *((name, variable.meaning) for name, variable in ENVIRONMENT.items())])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="notelog %(version)s")
def commands() -> None:
    """An event-sourced notes service: an append-only log, the notes built from it, and their changes live."""


@commands.command(cls=Serve)
@click.option(
    "--data", envvar="NOTELOG_DATA", default="notelog-data", show_default=True, help="Folder of the log and its tables."
)
@click.option("--host", envvar="NOTELOG_HOST", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    envvar=["NOTELOG_PORT", "PORT"],
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option("--log", envvar="NOTELOG_LOG", default="sqlite", show_default=True, help="sqlite, or nats://host:port,…")
@click.option("--insecure", envvar="NOTELOG_INSECURE", is_flag=True, help="Listen on an open address without tokens.")
@click.option(
    "--require-if-match",
    envvar="NOTELOG_REQUIRE_IF_MATCH",
    type=bool,
    default=False,
    hidden=True,
    help="true: a change of a note without If-Match is refused (428).",
)
@click.option(
    "--access-log",
    envvar="NOTELOG_ACCESS_LOG",
    type=bool,
    default=False,
    hidden=True,
    help="true: a log line for each request. What fails with 5xx is always logged.",
)
def serve(data: str, **options: Any) -> None:
    """Run the whole service in one process, until SIGTERM or Ctrl-C.

    A wrong setting ends it with exit code 2 and one line that names the setting. See also: notelog doctor.
    """
    settings = Settings(data=Path(data), **options, **from_environment(os.environ))
    settings.check()
    _run_service(settings)


commands.add_command(token)
OTHERS = (verify_command, tail_command, doctor_command)
for command in (*maintenance_commands.COMMANDS, *transfer_commands.COMMANDS, *OTHERS):
    commands.add_command(command)
for command in commands.commands.values():
    for option in command.params:
        if isinstance(option, click.Option):
            option.show_envvar = option.envvar is not None


def _run_service(settings: Settings) -> None:
    """Imported late: the other commands, and a wrong setting, need no web framework."""
    from service import logs
    from service.server import serve as serve_until_signal

    logs.configure()
    _event_loop()(serve_until_signal(settings))


def _event_loop() -> Any:
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


def main() -> None:
    """The entry point: one line and exit code 2 for what the user has to mend, 1 for what files and disks refuse."""
    try:
        commands.main(prog_name="notelog", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        _end(error.format_message() + _in_environment(error))
    except (WrongSetting, FolderError, ClusterError) as error:
        _end(str(error))
    except sqlite3.Error as error:
        _end(f"SQLite says: {error}; see notelog verify and notelog doctor", EXIT_DOES_NOT_HOLD)
    except OSError as error:
        drop_stdout()
        _end(str(error), EXIT_DOES_NOT_HOLD)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


def _in_environment(error: click.UsageError) -> str:
    """How the environment names the option that is wrong: the user may have set it there."""
    names = error.param.envvar if isinstance(error, click.BadParameter) and error.param else None
    return f" ({names if isinstance(names, str) else ', '.join(names)})" if names else ""


def _end(message: str, code: int = EXIT_USAGE) -> None:
    print(f"notelog: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
