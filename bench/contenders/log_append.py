"""The distributed log without the service round it: so many tasks that append new notes, or an empty replica."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import uvloop

from bench.contenders.nats_publish import DATA, WARM_UP_S, in_parallel
from events.jetstream_log import JetStreamLog
from events.nats_settings import NatsSettings
from events.record import NewEvent


async def append(data: Path, url: str, tasks: int, seconds: float) -> dict[str, float]:
    """Appends for so many seconds after a warm-up; with no tasks, catches up. Events a second, and the CPU of one."""
    began, cpu_s = time.monotonic(), time.process_time()
    log = await JetStreamLog.open(data / "events.db", NatsSettings.of_url(url))
    await log.caught_up()
    done = log.head

    async def work(ends: float) -> int:
        done = 0
        while time.monotonic() < ends:
            await log.append(NewEvent(None, "NoteCreated", 1, "apcelent", DATA), 0)
            done += 1
        return done

    if tasks:
        await in_parallel(work, tasks, WARM_UP_S)
        began, cpu_s = time.monotonic(), time.process_time()
        done = await in_parallel(work, tasks, seconds)
    rate = done / (time.monotonic() - began)
    cpu_us = (time.process_time() - cpu_s) / done * 1e6
    await log.close()
    return {"per_s": rate, "cpu_us": cpu_us}


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("url")
    parser.add_argument("tasks", type=int)
    parser.add_argument("seconds", type=float)
    given = parser.parse_args()
    given.data.mkdir(parents=True, exist_ok=True)
    print(json.dumps(uvloop.run(append(given.data, given.url, given.tasks, given.seconds))))


if __name__ == "__main__":
    main()
