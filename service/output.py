"""What commands print: results as text or JSON on stdout, progress and remarks on stderr."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

EXIT_DOES_NOT_HOLD = 1


class Advance(Protocol):
    """Says how far something is."""

    def __call__(self, position: int) -> None: ...


@contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Advance]:
    """A bar on stderr while a terminal is there, and nothing where none is. ``total`` None: nobody knows."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task: TaskID = progress.add_task(what, total=total)

        def advance(position: int) -> None:
            progress.update(task, completed=position)

        yield advance


def show(result: dict[str, Any], sentence: str, as_json: bool) -> None:
    """Print what a command has done."""
    click.echo(msgspec.json.encode(result).decode() if as_json else sentence)


def fail(result: dict[str, Any], sentence: str, as_json: bool) -> NoReturn:
    """End with exit code 1: what was checked does not hold, or could not be done."""
    if as_json:
        click.echo(msgspec.json.encode(result).decode())
    print(f"notelog: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(EXIT_DOES_NOT_HOLD)
