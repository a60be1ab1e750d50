"""`python -m bench NAME [--seconds S] [--rounds R]`, or `all`: measures, prints, and writes docs/BENCHMARKS.md."""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import traceback
from collections.abc import Callable

from bench import (
    audit,
    cluster,
    crowd,
    disk,
    feed,
    growth,
    lag,
    latency,
    machine,
    picture,
    processor,
    profiles,
    report,
    rest,
    slow,
    start,
)
from bench.stage import Run

MEASUREMENTS: dict[str, Callable[[Run], report.Report]] = {
    "create": rest.create,
    "keyed": rest.keyed,
    "read": rest.read,
    "list": rest.listing,
    "edit": rest.edit,
    "mixed": rest.mixed,
    "one": rest.one,
    "many": rest.many,
    "lag": lag.lag,
    "disk": disk.disk,
    "growth": growth.growth,
    "audit": audit.audit,
    "start": start.start,
    "fanout": feed.fanout,
    "realtime": feed.realtime,
    "burst": feed.burst,
    "latency": latency.latency,
    "hung": crowd.hung,
    "idle": crowd.idle,
    "resume": crowd.resume,
    "slow": slow.slow,
    "processor": processor.processor,
    "profile": profiles.profile,
    "cluster": cluster.cluster,
}
SOCKETS_MAX = 20_000  # 10,000 connections and room; contenders inherit it


def main() -> None:
    """Runs the named measurement, or all of them one after the other."""
    given = arguments()
    raise_limits()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit, so that contenders are ended too
    names = list(MEASUREMENTS) if given.name == "all" else [given.name]
    failed = [name for name in names if not measured(name, given)]
    sys.exit(f"not measured, wholly or in part: {', '.join(failed)}" if failed else 0)


def measured(name: str, given: argparse.Namespace) -> bool:
    """Runs one measurement, prints it and writes it down; False when it, or a part of it, could not be taken."""
    idle = machine.idle_share()
    outcome = taken(name, Run(given.seconds, given.rounds, given.events))
    print(f"\n{outcome.markdown()}\n", flush=True)
    try:
        if given.write:
            report.write(outcome, report.measured_on(outcome, idle))
            picture.draw()
    except Exception:
        traceback.print_exc()
        return False
    return not outcome.not_measured


def taken(name: str, run: Run) -> report.Report:
    """What was measured, or why nothing was."""
    try:
        return MEASUREMENTS[name](run)
    except report.NotMeasured as error:
        return report.left_out(name, str(error))
    except Exception as error:
        traceback.print_exc()
        return report.left_out(name, f"it failed ({type(error).__name__})")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=[*MEASUREMENTS, "all"])
    parser.add_argument("--seconds", type=int, default=4, help="of load in one contender's turn (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender (default %(default)s)")
    parser.add_argument("--events", type=int, default=1_000_000, help="in a large log; in growth, notes (%(default)s)")
    parser.add_argument("--no-write", dest="write", action="store_false", help="leave docs/BENCHMARKS.md as it is")
    return parser.parse_args()


def raise_limits() -> None:
    """As many open files as the system allows, up to what the measurements need."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(SOCKETS_MAX, hard), hard))


if __name__ == "__main__":
    main()
