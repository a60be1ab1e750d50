"""A process that appends to a log and says what became of each event, a JSON line each; the tests break it."""

import argparse
import asyncio
import json
import os
import signal
from pathlib import Path

from events.errors import LogError
from events.jetstream_log import JetStreamLog
from events.log import EventLog
from events.nats_settings import NatsSettings
from events.record import NewEvent
from events.sqlite_log import SqliteLog


async def main(asked: argparse.Namespace) -> None:
    """Append from several tasks at once. A refused or unknown event is not tried again; the next one is."""
    log = await open_log(asked)
    events = asked.events // asked.tasks
    await asyncio.gather(*(write(log, f"{task}-", events, "x" * asked.data_bytes) for task in range(asked.tasks)))
    if asked.kill:
        os.kill(os.getpid(), signal.SIGKILL)
    await log.close()


async def open_log(asked: argparse.Namespace) -> EventLog:
    """The log that the arguments name."""
    if asked.engine == "sqlite":
        return await SqliteLog.open(asked.file)
    log = await JetStreamLog.open(asked.file, NatsSettings.of_url(asked.engine, stream=asked.stream))
    await log.caught_up()
    return log


async def write(log: EventLog, prefix: str, events: int, data: str) -> None:
    """Append that many new notes; after a failure wait until the log says that it goes on."""
    for number in range(events):
        name = f"{prefix}{number}"
        try:
            appended = await log.append(NewEvent(None, "NoteCreated", 1, name, data), 0)
        except LogError as error:
            say(name, type(error).__name__, 0)
            if number + 1 < events:
                await goes_on(log)
        else:
            say(name, "Appended", appended.record.position)


async def goes_on(log: EventLog) -> None:
    """Wait until the log takes writes again, 10 s at most."""
    async with asyncio.timeout(10):
        while log.fault is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def say(actor: str, outcome: str, position: int) -> None:
    """One line, in one system call: what was answered is out before anything else happens."""
    os.write(1, json.dumps({"actor": actor, "outcome": outcome, "position": position}).encode() + b"\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", help="sqlite or nats://…")
    parser.add_argument("--stream", help="of the servers")
    parser.add_argument("file", type=Path)
    parser.add_argument("--tasks", type=int, required=True, help="writers at once")
    parser.add_argument("--events", type=int, required=True, help="events in all")
    parser.add_argument("--data-bytes", type=int, default=0, help="size of each event")
    parser.add_argument("--kill", action="store_true", help="kill itself right after the last answer")
    asyncio.run(main(parser.parse_args()))
