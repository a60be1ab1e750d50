"""Where a measurement takes place: a folder, the contenders that run in it, and the turns that they take."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from msgspec import Struct, json

from bench.answers import capture
from bench.contender import NOTES, Contender, bare, notelog
from bench.figures import Sample
from bench.machine import file_system
from bench.report import NotMeasured
from bench.server import Server

IN_MEMORY = ("tmpfs", "ramfs")
Turn = Callable[[Contender, Server], Sample]


class Run(Struct, frozen=True):
    """How long to measure."""

    seconds: int
    rounds: int
    events: int = 1_000_000  # in a large log

    @property
    def how(self) -> str:
        """For a report whose contenders took turns."""
        return f"{self.rounds} rounds of {self.seconds} s a turn."


class Stage:
    """The running contenders of one measurement; all of them are ended when it ends."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """Use `stage()`."""
        self.folder = folder
        self._stack = stack
        self.not_measured: list[str] = []
        self.servers: dict[str, tuple[Contender, Server]] = {}

    def start(self, contender: Contender, notes: int = 0, tracer: Sequence[str] = ()) -> Server:
        """Starts a contender and fills it; raises NotMeasured when it is not installed."""
        if contender.missing:
            raise NotMeasured(contender.missing)
        server = self._stack.enter_context(contender.start(self.folder_of(contender), tracer))
        contender.seed(server, notes)
        self.servers[contender.name] = (contender, server)
        return server

    def stop(self, name: str) -> None:
        """Ends a contender, if it was started at all; it can be started again."""
        if name in self.servers:
            self.server(name).stop()

    def server(self, name: str) -> Server:
        """A contender that was started."""
        return self.servers[name][1]

    def folder_of(self, contender: Contender) -> Path:
        """The contender's data folder."""
        return self.folder / contender.name.replace(" ", "-")

    def start_with_limit(self, notes: int, *others: Contender) -> None:
        """Starts notelog, the bare handler with notelog's own answers, and those of the others that are installed."""
        subject = self.start(notelog(), notes)
        self.start(bare(self.answers(subject)))
        for contender in others:
            if self.is_installed(contender):
                self.start(contender, notes)

    def is_installed(self, contender: Contender) -> bool:
        """Whether it can be started; what cannot is kept in `not_measured`."""
        if contender.missing:
            self.not_measured.append(f"{contender.name}: {contender.missing}")
        return not contender.missing

    def answers(self, subject: Server) -> Path:
        """The file with the answers that the bare handler sends."""
        file = self.folder / "answers.json"
        file.write_bytes(json.encode(capture(subject, NOTES)))
        return file

    def turns(self, rounds: int, turn: Turn, names: Sequence[str] = ()) -> dict[str, list[Sample]]:
        """A B C, A B C, …: each contender in its turn, `rounds` times."""
        chosen = self.chosen(names)
        samples: dict[str, list[Sample]] = {contender.name: [] for contender, _ in chosen}
        for number in range(rounds):
            for contender, server in chosen:
                progress(f"round {number + 1} of {rounds}: {contender.name}")
                samples[contender.name].append(turn(contender, server))
        return samples

    def chosen(self, names: Sequence[str] = ()) -> list[tuple[Contender, Server]]:
        """Those of the named contenders that run, in the order of their start; without names all."""
        return [pair for name, pair in self.servers.items() if not names or name in names]


@contextmanager
def stage() -> Iterator[Stage]:
    """A stage in a folder of its own, which is removed in the end; raises NotMeasured where no fsync reaches a disk."""
    if (kind := file_system(Path(gettempdir()))) in IN_MEMORY:
        raise NotMeasured(f"temporary files are on {kind}, where nothing is durable: set TMPDIR to a folder on a disk")
    with TemporaryDirectory(prefix="notelog-bench-") as folder, ExitStack() as stack:
        yield Stage(Path(folder), stack)


def progress(text: str) -> None:
    """What is being done, for who waits at a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
