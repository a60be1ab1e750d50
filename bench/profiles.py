"""Where the time goes: py-spy looks into notelog while wrk loads it; the functions that it is found in most."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.contender import notelog
from bench.load import Request, drive
from bench.report import NotMeasured, Report, Table
from bench.server import Server
from bench.stage import Run, progress, stage

NOTES = 1000
LOOKS_PER_S = 250
LINES = 20
CLIENTS = 64
SPY_S_EXTRA = 60.0
# What a thread's work begins below; above it is only how the process was started.
STARTS = ("Runner.run (asyncio", "_connection_worker_thread (")
# Where a thread waits for work, or hands over what it has done. py-spy takes many that wait for threads at work.
WAITING = ("_connection_worker_thread (", "_worker (concurrent")

Stack = tuple[tuple[str, ...], int]


def profile(run: Run) -> Report:
    """A POST and a GET by id at 64 clients, each looked into for one turn."""
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if spy is None:
        raise NotMeasured("py-spy is not installed")
    tables = []
    with stage() as place:
        server = place.start(notelog(), NOTES)
        for name, request in (("POST", notelog().requests.create), ("GET by id", notelog().requests.read)):
            progress(f"looking into {name}")
            stacks = list(looked(spy, server, request, run.seconds, place.folder))
            tables += [table(f"{name}: in it or below", below(stacks)), table(f"{name}: in it alone", alone(stacks))]
    remarks = [
        f"py-spy, {LOOKS_PER_S} looks a second, native code counted to the Python function that called it.",
        "Looks that found a thread between two works are left out: it waits, or hands over a result, which py-spy "
        "cannot tell apart. `Runner.run` alone is the event loop in native code, also where it waits.",
    ]
    return Report("profile", "Where the time goes", tables, [], remarks, f"One turn of {run.seconds} s each.")


def looked(spy: str, server: Server, request: Request, seconds: int, folder: Path) -> Iterable[Stack]:
    """The stacks of all threads that were found at work, with how often."""
    file = folder / "stacks.txt"
    argv = [spy, "record", "--pid", str(server.pid), "--duration", str(seconds), "--rate", str(LOOKS_PER_S)]
    argv += ["--format", "raw", "--function", "--threads", "--output", str(file)]
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(drive, server, request, CLIENTS, seconds + 1, NOTES)
        subprocess.run(argv, check=True, capture_output=True, timeout=seconds + SPY_S_EXTRA)
        load.result()
    for line in file.read_text().splitlines():
        text, _, count = line.rpartition(" ")
        frames = started(text.split(";"))
        if not frames[-1].startswith(WAITING):
            yield frames, int(count)


def started(frames: list[str]) -> tuple[str, ...]:
    """The frames of the work itself."""
    starts = (place for place, frame in enumerate(frames) if frame.startswith(STARTS))
    return tuple(frames[next(starts, 0) :])


def below(stacks: Iterable[Stack]) -> dict[str, float]:
    """The share of looks that found each function on the stack."""
    return shares((set(frames), count) for frames, count in stacks)


def alone(stacks: Iterable[Stack]) -> dict[str, float]:
    """The share of looks that found each function at the end of the stack."""
    return shares(((frames[-1],), count) for frames, count in stacks)


def shares(found: Iterable[tuple[Iterable[str], int]]) -> dict[str, float]:
    """Counts of names as shares of all looks."""
    counts: Counter[str] = Counter()
    looks = 0
    for names, count in found:
        looks += count
        for name in names:
            counts[name] += count
    return {name: count / max(1, looks) for name, count in counts.most_common(LINES)}


def table(title: str, found: dict[str, float]) -> Table:
    """A row a function."""
    return Table([title, "share"], [[f"`{name}`", f"{share:.1%}"] for name, share in found.items()])
