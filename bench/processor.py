"""Is the service better off on one processor? Its threads share the interpreter's lock, and wake each other for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.contender import Contender, notelog
from bench.figures import Spread, ratio
from bench.report import NotMeasured, Report
from bench.rest import NOTELOG, NOTES, Samples, measure, table
from bench.server import Server
from bench.stage import Run, stage

PINNED = "notelog, one processor"
OPERATIONS = {"create": "POST", "read": "GET by id", "list": "list of 100"}


def processor(run: Run) -> Report:
    """notelog on all processors and on one, in turn, 64 clients."""
    if shutil.which("taskset") is None:
        raise NotMeasured("taskset is not installed")
    with stage() as place:
        place.start_with_limit(NOTES, pinned())
        tables, remarks = [], []
        for operation, title in OPERATIONS.items():
            samples = measure(place, run, operation, 64)
            tables.append(table(samples, f"{title}, 64 clients"))
            remarks.append(
                f"{title}, one processor ÷ all: CPU {beside(samples, 'cpu_us')}, "
                f"requests/s {beside(samples, 'requests_per_s')}."
            )
        remarks.append("wrk takes a good part of the other processor.")
        return Report("processor", "On one processor", tables, [], remarks, run.how, place.not_measured)


def pinned() -> Contender:
    """notelog kept on the first processor that we may use."""
    service = notelog()

    def start(folder: Path, tracer: Sequence[str]) -> Server:
        return service.start(folder, ("taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))))

    return Contender(PINNED, start, service.seed, service.requests)


def beside(samples: Samples, figure: str) -> Spread:
    """A figure of the one over that of the other, round by round."""
    return ratio(samples[PINNED], samples[NOTELOG], figure)
