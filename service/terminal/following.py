"""What ``notelog tail`` does: a feed, shown item by item, until nobody wants it any more."""

import asyncio
import os
import stat
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from events.note import Note
from service.client import Client
from service.client.errors import LogReset
from service.client.feeds import ClientFeed
from service.client.frames import Event, Removed

COLOURS = {"NoteCreated": "green", "NoteEdited": "yellow", "NoteDeleted": "red", "NoteRestored": "cyan"}
# What a line of a terminal has room for; --json shows everything.
SHOWN_CHARACTERS_MAX = 200
CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}

Item = Event | Note | Removed


async def follow(url: str, token: str | None, name: str, after: int | None, as_json: bool) -> None:
    """Show what comes until the reader of the pipe on stdout is gone. Cancel: safe.

    Raises ``ClientError`` when the service wants no follower, ``BrokenPipeError`` when a line is the first to notice.
    """
    console = Console()
    show = _write_line if as_json or not console.is_terminal else partial(_print, console)
    async with Client(url, token) as client:
        feed: ClientFeed[Any] = client.events(after) if name == "events" else client.notes(after)
        feed.on_break = partial(_say_break, url)
        showing = asyncio.create_task(_show_all(feed, show))
        unread = asyncio.create_task(_pipe_closed())
        await asyncio.wait({showing, unread}, return_when=asyncio.FIRST_COMPLETED)
        if showing.done():
            showing.result()


async def _show_all(feed: ClientFeed[Any], show: Callable[[Item], None]) -> None:
    while True:
        try:
            async for item in feed:
                show(item)
        except LogReset as reset:
            remark(f"{reset}; what follows is that log from its beginning")
        else:
            return


async def _pipe_closed() -> None:
    """Return when the reader of the pipe on stdout is gone: the next line, which would tell, may be hours away.

    Where stdout is no pipe, it never returns.
    """
    descriptor = sys.stdout.fileno()
    closed = asyncio.Event()
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        await closed.wait()
    loop = asyncio.get_running_loop()
    # The end of a pipe that is written to becomes "readable" only by the error that nobody reads it (pipe(7), poll(2)).
    loop.add_reader(descriptor, closed.set)
    try:
        await closed.wait()
    finally:
        loop.remove_reader(descriptor)


def _write_line(item: Item) -> None:
    shown = {"removed": item.id} if isinstance(item, Removed) else item
    sys.stdout.buffer.write(msgspec.json.encode(shown) + b"\n")
    sys.stdout.buffer.flush()


def _print(console: Console, item: Item) -> None:
    console.print(_line(item), soft_wrap=True, highlight=False)


def _line(item: Item) -> Text:
    if isinstance(item, Removed):
        return Text(f"note {item.id} is gone", "red")
    if isinstance(item, Note):
        return Text.assemble(
            (f"{item.position:>8} ", "dim"),
            (item.updated_at, "dim"),
            f" note {item.id} ",
            (_safe(item.title), "bold"),
            (f" (priority {item.priority}, version {item.version})", "dim"),
        )
    data = msgspec.json.encode(item.data).decode() if item.data else ""
    return Text.assemble(
        (f"{item.position:>8} ", "dim"),
        (item.at, "dim"),
        (f" {_safe(item.type):<12} ", COLOURS.get(item.type, "magenta")),
        f"note {item.note_id} ",
        (f"version {item.version} by {_safe(item.actor)} ", "dim"),
        _safe(data),
    )


def _safe(text: str) -> str:
    """Cut to what a line has room for, and unable to command the terminal."""
    cut = text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 1] + "…"
    return cut.translate(CONTROLS)


def _say_break(url: str, why: str, wait_s: float) -> None:
    remark(f"{url}: {why}; trying again in {wait_s:.1f} s")


def remark(text: str) -> None:
    """One line on stderr."""
    print(f"notelog: {' '.join(text.split())}", file=sys.stderr)
