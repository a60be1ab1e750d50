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
COLUMNS = "note_id, type, schema, at, actor, command, request, meta, salt, data"
INSERT = f"INSERT INTO events (position, {COLUMNS}) VALUES ({', '.join('?' * 11)})"


class Copy:
    """The table, and what is to be put into it."""

    def __init__(self, file: Path, events: int) -> None:
        """A new file; it is whole with so many events."""
        self._database = sqlite3.connect(file, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute(f"CREATE TABLE events (position INTEGER PRIMARY KEY, {COLUMNS})")
        self._rows: list[tuple[object, ...]] = []
        self._decode = msgspec.msgpack.Decoder(list).decode
        self._events = events
        self.whole = asyncio.Event()

    async def take(self, message: Msg) -> None:
        """One message; the sequence in the stream is its position."""
        position = int(message.reply.split(".")[5])
        self._rows.append((position, *self._decode(message.data)))
        if len(self._rows) == BATCH or position == self._events:
            self._write()
        if position == self._events:
            self.whole.set()

    def _write(self) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(INSERT, self._rows)
        self._database.execute("COMMIT")
        self._rows.clear()

    def close(self) -> None:
        """Closes the file; raises when an event is missing in it."""
        (count,) = self._database.execute("SELECT count(*) FROM events").fetchone()
        self._database.close()
        if count != self._events:
            raise ValueError(f"expected {self._events} events, got {count}")


async def consume(data: Path, servers: list[str], events: int) -> dict[str, float]:
    """Messages a second, and the CPU of one, until so many are in the table."""
    connection = await nats.connect(servers)
    copy = Copy(data / "copy.db", events)
    began, cpu_s = time.monotonic(), time.process_time()
    await connection.jetstream().subscribe("notelog.*", ordered_consumer=True, cb=copy.take, pending_msgs_limit=0)
    await copy.whole.wait()
    taken_s, taken_cpu_s = time.monotonic() - began, time.process_time() - cpu_s
    copy.close()
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
