"""The limit of a distributed append: nats-py alone, publishing with so many tasks, each message on its own subject."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable

import nats
from nats.js.api import StorageType, StreamConfig

STREAM = "bare"
WARM_UP_S = 1.0
DATA = (
    '{"title":"A note to measure with","description":"sample notes of ordinary length, about a line of text",'
    '"created_at":"2017-08-23T00:00:00Z","created_by":"apcelent","priority":4}'
)
# As large as notelog's message of such a note: what stands beside the payload takes about 70 bytes.
MESSAGE = DATA.encode() + os.urandom(70)


async def publish(servers: list[str], tasks: int, seconds: float) -> dict[str, float]:
    """Publishes for so many seconds after a warm-up; how many were acknowledged in a second, and the CPU of one."""
    connection = await nats.connect(servers)
    jetstream = connection.jetstream()
    config = StreamConfig(name=STREAM, subjects=[f"{STREAM}.*"], num_replicas=3, storage=StorageType.FILE)
    await jetstream.add_stream(config)

    async def work(ends: float) -> int:
        done = 0
        while time.monotonic() < ends:
            await jetstream.publish(f"{STREAM}.{os.urandom(16).hex()}", MESSAGE)
            done += 1
        return done

    await in_parallel(work, tasks, WARM_UP_S)
    began, cpu_s = time.monotonic(), time.process_time()
    done = await in_parallel(work, tasks, seconds)
    rate = done / (time.monotonic() - began)
    cpu_us = (time.process_time() - cpu_s) / done * 1e6
    await connection.close()
    return {"per_s": rate, "cpu_us": cpu_us}


async def in_parallel(work: Callable[[float], Awaitable[int]], tasks: int, seconds: float) -> int:
    """So many tasks at once, which all end at the same time; the sum of what they did."""
    ends = time.monotonic() + seconds
    return sum(await asyncio.gather(*(work(ends) for _ in range(tasks))))


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers")
    parser.add_argument("tasks", type=int)
    parser.add_argument("seconds", type=float)
    given = parser.parse_args()
    servers = [f"nats://{host}" for host in given.servers.removeprefix("nats://").split(",")]
    print(json.dumps(asyncio.run(publish(servers, given.tasks, given.seconds))))


if __name__ == "__main__":
    main()
