"""Where a measurement takes place: a folder, the contenders that run in it, and the turns that they take."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct, json

from bench.answers import Answers, capture, sample_answers
from bench.contender import NOTES, Contender, bare, notelog
from bench.figures import Sample
from bench.server import Server

Turn = Callable[[Contender, Server], Sample]


class Run(Struct, frozen=True):
    """How long to measure."""

    seconds: int
    rounds: int
    events: int = 1_000_000  # in a large log


class Stage:
    """The running contenders of one measurement; all of them are ended when it ends."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """Use `stage()`."""
        self.folder = folder
        self._stack = stack
        self.left_out: list[str] = []
        self.servers: dict[str, tuple[Contender, Server]] = {}

    def start(self, contender: Contender, notes: int = 0, tracer: Sequence[str] = ()) -> Server | None:
        """Starts a contender and fills it; None, with a remark, when it is not installed."""
        if contender.missing:
            self.left_out.append(f"{contender.name} is left out: {contender.missing}.")
            return None
        server = self._stack.enter_context(contender.start(self.folder_of(contender), tracer))
        contender.seed(server, notes)
        self.servers[contender.name] = (contender, server)
        return server

    def server(self, name: str) -> Server:
        """A contender that was started."""
        return self.servers[name][1]

    def folder_of(self, contender: Contender) -> Path:
        """The contender's data folder."""
        return self.folder / contender.name.replace(" ", "-")

    def start_with_limit(self, notes: int, *others: Contender) -> None:
        """Starts notelog, the bare handler with notelog's own answers, and the others."""
        subject = self.start(notelog(), notes)
        self.start(bare(self.answers(subject)))
        for contender in others:
            self.start(contender, notes)

    def answers(self, subject: Server | None) -> Path:
        """The file with the answers that the bare handler sends."""
        file = self.folder / "answers.json"
        answers: Answers = capture(subject, NOTES) if subject else sample_answers()
        file.write_bytes(json.encode(answers))
        return file

    def turns(self, rounds: int, turn: Turn, names: Sequence[str] = ()) -> dict[str, list[Sample]]:
        """A B C, A B C, …: each contender in its turn, `rounds` times."""
        chosen = {name: pair for name, pair in self.servers.items() if not names or name in names}
        samples: dict[str, list[Sample]] = {name: [] for name in chosen}
        for number in range(rounds):
            for name, (contender, server) in chosen.items():
                progress(f"round {number + 1} of {rounds}: {name}")
                samples[name].append(turn(contender, server))
        return samples


@contextmanager
def stage() -> Iterator[Stage]:
    """A stage in a folder of its own, which is removed in the end."""
    with TemporaryDirectory(prefix="notelog-bench-") as folder, ExitStack() as stack:
        yield Stage(Path(folder), stack)


def progress(text: str) -> None:
    """What is being done, for who waits at a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
