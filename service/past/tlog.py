"""The log as a transparency log over HTTP (C2SP tlog-tiles): what a stranger needs to check it without trusting us."""

import re
import struct
from functools import partial
from sqlite3 import Connection

from aiohttp import web

from events.database import Reader
from events.log import EventLog
from events.record import leaf
from events.store import select_page
from projections.ledger import select_tile
from projections.ledger_keeper import LedgerKeeper, SignedCheckpoint
from projections.merkle import HASH_BYTES, TILE_HASHES, inclusion_proof
from projections.signed_note import Signer, proof_text
from service.errors import NoSuchEvent, TooFarBehind
from service.http import requests
from service.http.freshness import Patience
from service.past.audit import position_in_path
from service.past.ledger_part import LedgerPart

TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"
# A tile or bundle of a given width never changes.
FOR_EVER = "max-age=31536000, immutable"
ENTRIES = "entries"

# Seven groups of digits are more than any position needs.
_TILE = re.compile(
    r"(?P<level>entries|[0-9]{1,2})/(?P<number>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[0-9]{1,3}))?"
)


class TlogApi:
    """The handlers of ``/tlog``. ``events``: a connection for reads of the log that may be long."""

    def __init__(self, log: EventLog, ledger: LedgerPart, events: Reader, patience: Patience) -> None:
        self._log = log
        self._patience = patience
        self._ledger = ledger
        self._events = events

    async def checkpoint(self, request: web.Request) -> web.Response:
        """``GET /tlog/checkpoint``: 200 with the signed root of the tree; what was written before is waited for."""
        requests.require_no_query(request)
        wanted = max(self._log.head, requests.min_position(request))
        published = await self._published(self._keeper(), wanted)
        return self._answer(published.text, TEXT, published.size, "no-cache")

    async def key(self, request: web.Request) -> web.Response:
        """``GET /tlog/key``: 200 with what signatures are checked with."""
        requests.require_no_query(request)
        requests.min_position(request)
        return self._answer(f"{self._signer().verifier_key}\n", TEXT, self._log.head, "no-cache")

    async def proof(self, request: web.Request) -> web.Response:
        """``GET /tlog/proof/{position}``: 200 with an offline proof; an event of just now is waited for."""
        requests.require_no_query(request)
        keeper, position = self._keeper(), position_in_path(request)
        await self._published(keeper, requests.min_position(request))
        if not 0 < position <= self._log.head:
            raise NoSuchEvent(position, self._log.head)
        published = await self._published(keeper, position)
        path = await keeper.read(partial(_select_proof, index=position - 1, size=published.size))
        return self._answer(proof_text(position - 1, path, published.text), TEXT, published.size, "no-cache")

    async def tile(self, request: web.Request) -> web.Response:
        """``GET /tlog/tile/<L>/<N>[.p/<W>]`` and ``/tlog/tile/entries/<N>[.p/<W>]``: 200 with hashes, or entries."""
        requests.require_no_query(request)
        keeper = self._keeper()
        size = (await self._published(keeper, requests.min_position(request))).size
        level, number, width = _parsed(request.match_info["tile"])
        hash_level = 0 if level == ENTRIES else int(level)
        if number * TILE_HASHES + width > size >> (8 * hash_level):
            raise web.HTTPNotFound
        if level == ENTRIES:
            body = await self._entries(number * TILE_HASHES, width)
        else:
            tile = await keeper.read(partial(select_tile, level=hash_level, number=number))
            body = tile[: width * HASH_BYTES]
        return self._answer(body, BYTES, size, FOR_EVER)

    async def _entries(self, after: int, count: int) -> bytes:
        parts: list[bytes] = []
        last = after + count
        while after < last:
            part, after = await self._events.read(partial(_select_entries, after=after, last=last))
            parts.append(part)
        return b"".join(parts)

    def _keeper(self) -> LedgerKeeper:
        self._signer()
        return self._ledger.keeper

    def _signer(self) -> Signer:
        """Where no key was given, there is no such thing here."""
        if self._ledger.signer is None:
            raise web.HTTPNotFound
        return self._ledger.signer

    async def _published(self, keeper: LedgerKeeper, position: int) -> SignedCheckpoint:
        """The last checkpoint that was signed, once it has the position in it."""
        try:
            await self._patience.in_time(keeper.reach(position))
        except TimeoutError:
            raise TooFarBehind(position, keeper.published.value) from None
        assert keeper.checkpoint is not None
        return keeper.checkpoint

    def _answer(self, body: str | bytes, media_type: str, position: int, kept: str) -> web.Response:
        headers = {
            "Content-Type": media_type,
            "Cache-Control": kept,
            "Notelog-Epoch": self._log.epoch,
            "Notelog-Position": str(position),
        }
        return web.Response(body=body.encode() if isinstance(body, str) else body, headers=headers)


def tile_path(number: int) -> str:
    """The number of a tile as it stands in a path: 1234067 is ``x001/x234/067``."""
    groups = [f"{number % 1000:03d}"]
    while number := number // 1000:
        groups.insert(0, f"x{number % 1000:03d}")
    return "/".join(groups)


def _parsed(path: str) -> tuple[str, int, int]:
    """Level (or ``entries``), number and width. There is one way to write each: others are not found."""
    match = _TILE.fullmatch(path)
    if match is None:
        raise web.HTTPNotFound
    level, number, width = match["level"], int(match["number"].replace("/", "").replace("x", "")), match["width"]
    canonical = level == ENTRIES or (str(int(level)) == level and int(level) < 64)
    canonical = canonical and tile_path(number) == match["number"]
    if not canonical or (width is not None and not (str(int(width)) == width and 0 < int(width) < TILE_HASHES)):
        raise web.HTTPNotFound
    return level, number, TILE_HASHES if width is None else int(width)


def _select_proof(connection: Connection, index: int, size: int) -> list[bytes]:
    return inclusion_proof(partial(select_tile, connection), index, size)


def _select_entries(connection: Connection, after: int, last: int) -> tuple[bytes, int]:
    """Some entries, each after its length, and the position that they reach to."""
    records = select_page(connection, after, last, last - after)
    entries = [leaf(record) for record in records]
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries), records[-1].position
