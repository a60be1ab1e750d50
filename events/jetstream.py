"""The stream in NATS JetStream that all nodes share: making it, publishing to it, and following it.

Only what the log needs, spoken directly in JetStream's JSON API (docs.nats.io, "JetStream wire API"): a stream that is
made or checked, a publish with a guard, the last position, one message, and a push consumer from a position on.

What the guard gives: a publish carries the sequence where it expects the last message of its subject, and is refused
when that is another (err_code 10071; 10164 for the losers of a race on three replicas). So a publish can be repeated
until it is answered: it is stored at most once, for ever.

What a Msg-Id gives on top: of two messages on different subjects under the same id the server stores one, while it
remembers the id. Nothing rests on it alone: the window is short, and a new leader may not know an id yet.
"""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from events.errors import BrokenLog
from events.nats_connection import Connection
from events.nats_settings import NatsSettings
from events.stream_answers import (
    Answer,
    Conflict,
    Duplicate,
    Got,
    NoAnswer,
    NoResponders,
    NotStored,
    State,
    decode_answer,
    require_majority,
)
from events.stream_configuration import Identity, configuration, identify
from events.stream_feed import Feed, consumer

# Where the replicas are not set: three when there is a cluster.
REPLICAS = 3
# What the server takes as one atomic batch.
BATCH_MESSAGES_MAX = 1000

WRONG_LAST_SEQUENCE = (10071, 10164)
NOT_CLUSTERED = 10074
NAME_IN_USE = 10058
STREAM_NOT_FOUND = 10059
# Refused before anything was stored: out of memory or disk by the server's own limits, or a message of the same id is
# just being stored.
NOT_STORED = (10023, 10047, 10158)


class StreamGone(BrokenLog):
    """There is no stream, and a replica of it is here."""


class Stream:
    """A connection to the stream. It never reconnects: when it is lost, ``lost`` is set, and another is made."""

    def __init__(self, connection: Connection, settings: NatsSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._name = settings.stream
        self.lost = connection.lost
        self.identity: Identity

    @classmethod
    @asynccontextmanager
    async def connected(
        cls, settings: NatsSettings, last: str | None = None, birth: Mapping[str, str] | None = None
    ) -> AsyncIterator["Stream"]:
        """The stream over the first server that answers; closed at the end of the block.

        ``last``: the server that was used before, which is asked after the others: it may be cut off from them.
        ``birth``: what the metadata of a stream that is made here says beside its epoch; None: none is made.
        Raises ``ClusterError``, ``StreamGone``, ``NewerFormat``, ``NoAnswer``.
        """
        connection = Connection(settings)
        try:
            await connection.open(last)
            stream = cls(connection, settings)
            await stream._prepare(birth)
            yield stream
        finally:
            await connection.close()

    @property
    def server(self) -> str:
        """The server that is used."""
        return self._connection.server

    async def last_position(self) -> int:
        """The stream's last sequence, as its leader knows it. Raises ``NoAnswer``."""
        return (await self.state()).last_seq

    async def state(self) -> State:
        """The stream's numbers, from a leader that has a majority behind it. Raises ``NoAnswer``.

        A server that is left alone answers too (seen: for as long as it is alone), with numbers that are old.
        """
        answer = await self._ask(f"STREAM.INFO.{self._name}")
        if answer.state is None:
            raise NoAnswer(answer.error.description if answer.error else "no state")
        require_majority(answer.cluster)
        return answer.state

    async def publish(self, token: str, payload: bytes, expected: int, id_: str | None = None) -> int:
        """Store a message if the last one of its subject is at ``expected``; returns its position.

        ``id_``: no other message under it is stored, as far as the server remembers. Cancel: it is stored or not.
        Raises ``Conflict``, ``Duplicate``, ``NotStored``, ``NoAnswer``, ``ValueError`` when it is too large.
        """
        if len(payload) > self._connection.payload_bytes_max:
            limit = self._connection.payload_bytes_max
            raise ValueError(f"expected an event of at most {limit} bytes, got {len(payload)}")
        headers = {"Nats-Expected-Last-Subject-Sequence": str(expected)}
        if id_ is not None:
            headers["Nats-Msg-Id"] = id_
        answer = await self._store(token, payload, headers)
        if answer.duplicate:
            raise Duplicate
        return answer.seq

    async def publish_batch(self, messages: Sequence[tuple[str, bytes]], after: int) -> None:
        """Store messages (token and payload) right after the position ``after``, all of them or none.

        Raises ``Conflict`` when the stream's last one is another, ``NotStored``, ``NoAnswer``.
        """
        headers = {"Nats-Batch-Id": secrets.token_hex(16), "Nats-Expected-Last-Sequence": str(after)}
        for number, (token, payload) in enumerate(messages, 1):
            headers = headers | {"Nats-Batch-Sequence": str(number)}
            if number == len(messages):
                await self._store(token, payload, headers | {"Nats-Batch-Commit": "1"})
            elif number == 1:
                await self._store(token, payload, headers)
            else:
                await self._connection.send(f"{self._name}.{token}", payload, headers)
            headers.pop("Nats-Expected-Last-Sequence", None)

    async def payload_at(self, position: int) -> bytes | None:
        """The message at a position, None where there is none. Raises ``NoAnswer``."""
        asked = msgspec.json.encode({"seq": position})
        answer = await self._connection.request(f"$JS.API.STREAM.MSG.GET.{self._name}", asked)
        message = msgspec.json.decode(answer, type=Got).message
        return message.data if message else None

    async def note(self, metadata: Mapping[str, str]) -> None:
        """Write into the stream's metadata, beside what is there. Raises ``NoAnswer``."""
        config = (await self._answered(f"STREAM.INFO.{self._name}")).config
        config["metadata"] |= metadata
        self.identity = self._identified(await self._answered(f"STREAM.UPDATE.{self._name}", config))

    @asynccontextmanager
    async def feed(self, after: int) -> AsyncIterator[Feed]:
        """The messages after a position, as they come. Raises ``NoAnswer``."""
        feed = Feed(self._connection.send)
        inbox, subscription = await self._connection.subscribe(feed)
        try:
            config = consumer(inbox, after)
            await self._answered(f"CONSUMER.CREATE.{self._name}", {"stream_name": self._name, "config": config})
            yield feed
        finally:
            await self._connection.unsubscribe(subscription)

    async def _prepare(self, birth: Mapping[str, str] | None) -> None:
        """Make the stream, or see that the one which is there is fit."""
        answer = await self._ask(f"STREAM.INFO.{self._name}")
        if answer.error and answer.error.err_code == STREAM_NOT_FOUND:
            if birth is None:
                raise StreamGone(f"there is no stream {self._name} on {self.server}, and here is a replica of it")
            answer = await self._create(birth)
        if answer.error:
            raise NoAnswer(answer.error.description)
        self.identity = self._identified(answer)

    def _identified(self, answer: Answer) -> Identity:
        return identify(answer.config, self._name, self._settings.replicas)

    async def _create(self, birth: Mapping[str, str]) -> Answer:
        """Make it with as many replicas as asked for. Another node may be faster: then its stream is ours."""
        answer = await self._create_with(self._settings.replicas or REPLICAS, birth)
        if answer.error and answer.error.err_code == NOT_CLUSTERED and self._settings.replicas is None:
            answer = await self._create_with(1, birth)
        if answer.error and answer.error.err_code == NAME_IN_USE:
            answer = await self._ask(f"STREAM.INFO.{self._name}")
        return answer

    async def _create_with(self, replicas: int, birth: Mapping[str, str]) -> Answer:
        return await self._ask(f"STREAM.CREATE.{self._name}", configuration(self._name, replicas, **birth))

    async def _store(self, token: str, payload: bytes, headers: dict[str, str]) -> Answer:
        try:
            answer = decode_answer(await self._connection.request(f"{self._name}.{token}", payload, headers))
        except NoResponders as nobody:
            # No server had anybody to give it to: while there is no leader, nothing is stored.
            raise NotStored("the stream has no leader at the moment") from nobody
        if answer.error is None:
            return answer
        if answer.error.err_code in WRONG_LAST_SEQUENCE:
            raise Conflict
        if answer.error.err_code in NOT_STORED:
            raise NotStored(answer.error.description)
        raise NoAnswer(answer.error.description)

    async def _answered(self, verb: str, body: Any = None) -> Answer:
        answer = await self._ask(verb, body)
        if answer.error:
            raise NoAnswer(answer.error.description)
        return answer

    async def _ask(self, verb: str, body: Any = None) -> Answer:
        payload = b"" if body is None else msgspec.json.encode(body)
        return decode_answer(await self._connection.request(f"$JS.API.{verb}", payload))
