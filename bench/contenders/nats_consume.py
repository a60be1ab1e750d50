"""The limit of a catch-up: a bare ordered consumer of nats-py that inserts what comes into SQLite, in batches."""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import time
from pathlib import Path

import msgspec
import nats
from nats.aio.msg import Msg

BATCH = 1000


async def consume(data: Path, servers: list[str], events: int) -> dict[str, float]:
    """Messages a second, and the CPU of one, until so many are in the table."""
    connection = await nats.connect(servers)
    database = sqlite3.connect(data / "copy.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    columns = "note_id, type, schema, at, actor, command, request, meta, salt, data"
    database.execute(f"CREATE TABLE events (position INTEGER PRIMARY KEY, {columns})")
    insert = f"INSERT INTO events (position, {columns}) VALUES ({', '.join('?' * 11)})"
    rows: list[tuple[object, ...]] = []
    decode = msgspec.msgpack.Decoder(list).decode
    all_there = asyncio.Event()
    began, cpu_s = time.monotonic(), time.process_time()

    def write() -> None:
        database.execute("BEGIN")
        database.executemany(insert, rows)
        database.execute("COMMIT")
        rows.clear()

    async def take(message: Msg) -> None:
        position = int(message.reply.split(".")[5])
        rows.append((position, *decode(message.data)))
        if len(rows) == BATCH or position == events:
            write()
        if position == events:
            all_there.set()

    await connection.jetstream().subscribe("notelog.*", ordered_consumer=True, cb=take, pending_msgs_limit=0)
    await all_there.wait()
    taken_s, taken_cpu_s = time.monotonic() - began, time.process_time() - cpu_s
    database.close()
    await connection.close()
    return {"per_s": events / taken_s, "cpu_us": taken_cpu_s / events * 1e6}


def main() -> None:
    """Prints the figure as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("servers")
    parser.add_argument("events", type=int)
    given = parser.parse_args()
    given.data.mkdir(parents=True, exist_ok=True)
    servers = [f"nats://{host}" for host in given.servers.removeprefix("nats://").split(",")]
    print(json.dumps(asyncio.run(consume(given.data, servers, given.events))))


if __name__ == "__main__":
    main()
