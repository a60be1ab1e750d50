"""What commands print: results as text or JSON on stdout, progress and remarks on stderr."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
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
    with progress_bars((what, total)) as (advance,):
        yield advance


@contextmanager
def progress_bars(*bars: tuple[str, int | None]) -> Iterator[list[Advance]]:
    """Several bars at once, one under the other."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        yield [partial(_advance, progress, progress.add_task(what, total=total)) for what, total in bars]


def _advance(progress: Progress, task: TaskID, position: int) -> None:
    progress.update(task, completed=position)


def show(result: dict[str, Any], sentence: str, as_json: bool) -> None:
    """Print what a command has done."""
    click.echo(msgspec.json.encode(result).decode() if as_json else sentence)


def fail(result: dict[str, Any], sentence: str, as_json: bool) -> NoReturn:
    """End with exit code 1: what was checked does not hold, or could not be done."""
    if as_json:
        click.echo(msgspec.json.encode(result).decode())
    print(f"notelog: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(EXIT_DOES_NOT_HOLD)


def print_bytes(chunk: bytes) -> None:
    """Write to stdout. When nobody reads it any more, there is nothing left to do."""
    try:
        sys.stdout.buffer.write(chunk)
    except BrokenPipeError:
        drop_stdout()
        sys.exit(EXIT_DOES_NOT_HOLD)


def drop_stdout() -> None:
    """What is still in the buffer must not be tried again at the exit (docs.python.org/3/library/signal.html)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
