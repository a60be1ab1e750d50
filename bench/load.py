"""The load on HTTP contenders: wrk, told by a Lua script what to ask."""

from __future__ import annotations

import resource
import secrets
import shutil
import subprocess
from pathlib import Path

from msgspec import Struct, json, structs

from bench.figures import Sample
from bench.report import NotMeasured
from bench.server import MIB, Server

SCRIPT = Path(__file__).with_name("requests.lua")
ANSWER_S_MAX = 10
WRK_S_EXTRA = 30.0  # wrk ends by itself after its time; this bounds it when it does not


class Request(Struct, frozen=True):
    """What is asked. `%d` in the path is a note's id, in the body a number that is new each time.

    `reads`: how many in a hundred are GETs of the path instead.
    """

    method: str
    path: str
    body: str = ""
    reads: int = 0


class Requests(Struct, frozen=True):
    """The requests that are measured, as one contender understands them."""

    create: Request
    read: Request
    list: Request
    edit: Request

    @property
    def mixed(self) -> Request:
        """80 reads and 20 edits in a hundred."""
        return structs.replace(self.edit, reads=80)


class Outcome(Struct, frozen=True):
    """What wrk saw: `refused` counts answers beyond 3xx, `broken` counts connections and time-outs."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int


class LoadFailed(Exception):
    """Some answers were errors: their speed says nothing."""


def drive(server: Server, request: Request, clients: int, seconds: int, notes: int = 1, keyed: bool = False) -> Outcome:
    """Loads the server for whole seconds, with requests that it has not met yet; raises when one had no success."""
    if shutil.which("wrk") is None:
        raise NotMeasured("wrk is not installed")
    server.turns += 1
    key = secrets.token_hex(12) if keyed else ""
    argv = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", f"--timeout={ANSWER_S_MAX}s", "-s", str(SCRIPT), server.url]
    argv += ["--", request.method, request.path, request.body, str(notes), key, str(server.turns), str(request.reads)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + WRK_S_EXTRA, check=False)
    if done.returncode:
        raise LoadFailed(f"{server.name}: wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
    outcome = json.decode(done.stdout.strip().splitlines()[-1], type=Outcome)
    if outcome.refused or outcome.broken or not outcome.requests:
        raise server.failed(f"expected successes only, got {outcome}")
    return outcome


def sample(server: Server, request: Request, clients: int, seconds: int, notes: int = 1, keyed: bool = False) -> Sample:
    """One turn: the load, and the CPU that the server took for it, what it put off until after it included."""
    cpu_s, loop_s, wrk_s = server.cpu_s(), server.loop_cpu_s(), children_cpu_s()
    outcome = drive(server, request, clients, seconds, notes, keyed)
    wrk_s = children_cpu_s() - wrk_s
    if request.method != "GET":  # a read puts nothing off
        server.settled()
    return Sample(
        requests_per_s=outcome.requests / outcome.seconds,
        cpu_us=(server.cpu_s() - cpu_s) / outcome.requests * 1e6,
        loop_us=(server.loop_cpu_s() - loop_s) / outcome.requests * 1e6 if server.has_loop else None,
        p50_ms=outcome.p50_ms,
        p99_ms=outcome.p99_ms,
        memory_mib=server.memory_bytes() / MIB,
        wrk_share=wrk_s / outcome.seconds,
    )


def children_cpu_s() -> float:
    """What the processes took that this one has started and seen end."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
