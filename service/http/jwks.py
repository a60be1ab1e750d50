"""The keys that tokens are checked with: a shared secret, or the public keys that an identity provider publishes.

The algorithm belongs to the key, never to the token: a public key used as an HMAC secret, or ``alg: none``, finds no
key here. Published keys (RFC 7517) come from a file, read again when it changes, or from a URL, fetched again now and
then, and at once when a token names a key that is not known yet. While a set cannot be read, the last one stands.
"""

import asyncio
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, Key, OctKey, OKPKey, RSAKey
from msgspec import Struct

from service.errors import KeysUnavailable
from service.settings import Secret, WrongSetting, is_loopback, without_password

# A key set is a few KiB; whoever answers more than this is no key set.
DOCUMENT_BYTES_MAX = 1024 * 1024
# Providers publish two to five. A token without a key id is tried with all of its algorithm.
KEYS_MAX = 32
RSA_BITS_MIN = 2048
FETCH_TIMEOUT_S = 5.0
# How old what was fetched may grow, how often a changed file is looked for, and how often while there are no keys.
FETCH_EVERY_S = 300.0
LOOK_EVERY_S = 2.0
RETRY_EVERY_S = 5.0
# Tokens with unknown key ids cause one look in this time, whoever sends how many of them.
ASKED_EVERY_S = 10.0

logger = structlog.get_logger(__name__)


class TrustedKey(Struct, frozen=True):
    """A key, and the algorithms that it may be used with. ``key_id`` None: it has no name."""

    key: Key
    algorithms: frozenset[str]
    key_id: str | None = None

    def fits(self, algorithm: str, key_id: str | None) -> bool:
        """Whether a token with this header may be signed by the key."""
        return algorithm in self.algorithms and (key_id is None or self.key_id is None or self.key_id == key_id)


class Keys(ABC):
    """Where trusted keys come from. ``generation`` changes when they do."""

    generation = 0

    @abstractmethod
    async def named(self, algorithm: str, key_id: str | None) -> list[TrustedKey]:
        """The keys that may have signed a token with this header. Raises ``KeysUnavailable``. Cancel: safe."""

    @abstractmethod
    async def keep_fresh(self) -> None:
        """Follow changes of the keys, until cancelled. Returns when there can be none."""


class SharedSecret(Keys):
    """The secret that the service shares with whoever makes tokens: HS256 and nothing else."""

    def __init__(self, secret: Secret) -> None:
        self._trusted = TrustedKey(OctKey.import_key(bytes(secret)), frozenset({"HS256"}))

    async def named(self, algorithm: str, key_id: str | None) -> list[TrustedKey]:
        return [self._trusted] if self._trusted.fits(algorithm, key_id) else []

    async def keep_fresh(self) -> None:
        return


class PublishedKeys(Keys):
    """The public keys of an identity provider, from a file or a URL."""

    def __init__(self, source: "KeyFile | KeyUrl") -> None:
        self._source = source
        self._trusted: list[TrustedKey] = []
        self._refreshing = asyncio.Lock()
        self._asked_at = float("-inf")
        self._warned = ""

    async def begin(self) -> None:
        """Read the keys for the first time. Raises ``WrongSetting`` when the file has none; a URL may come later."""
        try:
            self._take(await self._source.read())
        except (OSError, ValueError, aiohttp.ClientError, TimeoutError) as error:
            if isinstance(self._source, KeyFile):
                raise WrongSetting(f"NOTELOG_AUTH_JWKS {self._source}: {error}") from None
            self._warn(error)

    async def named(self, algorithm: str, key_id: str | None) -> list[TrustedKey]:
        found = self._fitting(algorithm, key_id)
        if not found:
            await self._look_again()
            found = self._fitting(algorithm, key_id)
        if not self._trusted:
            raise KeysUnavailable
        return found

    async def keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(self._source.every_s if self._trusted else RETRY_EVERY_S)
            await self._refresh()

    async def _look_again(self) -> None:
        """Look for a key that is not known, if nobody has just done so; who comes while somebody looks waits for it."""
        if time.monotonic() - self._asked_at > ASKED_EVERY_S:
            self._asked_at = time.monotonic()
            await self._refresh()
        else:
            async with self._refreshing:
                pass

    def _fitting(self, algorithm: str, key_id: str | None) -> list[TrustedKey]:
        return [trusted for trusted in self._trusted if trusted.fits(algorithm, key_id)]

    async def _refresh(self) -> None:
        async with self._refreshing:
            try:
                self._take(await self._source.read())
            except (OSError, ValueError, aiohttp.ClientError, TimeoutError) as error:
                self._warn(error)

    def _take(self, document: bytes | None) -> None:
        if document is not None:
            self._trusted = list(_trusted_keys(document))
            self.generation += 1
            self._warned = ""
            logger.info("keys read", source=str(self._source), keys=len(self._trusted))

    def _warn(self, error: Exception) -> None:
        """Once for each fault, however long it lasts."""
        fault = without_password(repr(error))
        if self._warned != fault:
            self._warned = fault
            logger.warning("keys could not be read", source=str(self._source), error=self._warned)


class KeyFile:
    """A key set in a file."""

    every_s = LOOK_EVERY_S

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def __str__(self) -> str:
        return str(self._path)

    async def read(self) -> bytes | None:
        """The file, or None when it has not changed since the last time. Raises ``OSError``. Cancel: safe."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> bytes | None:
        status = self._path.stat()
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        if seen == self._seen:
            return None
        with self._path.open("rb") as file:
            document = file.read(DOCUMENT_BYTES_MAX)
        self._seen = seen
        return document


class KeyUrl:
    """A key set behind a URL."""

    every_s = FETCH_EVERY_S

    def __init__(self, url: str) -> None:
        self._url = url
        self._seen: bytes | None = None

    def __str__(self) -> str:
        return without_password(self._url)

    async def read(self) -> bytes | None:
        """What the URL answers, or None when it is what it answered the last time.

        Raises ``aiohttp.ClientError``, ``TimeoutError``, ``ValueError``. Cancel: safe.
        """
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)) as session:
            async with session.get(self._url, raise_for_status=True, max_redirects=3) as response:
                document = b""
                async for chunk in response.content.iter_chunked(64 * 1024):
                    document += chunk
                    if len(document) > DOCUMENT_BYTES_MAX:
                        raise ValueError(f"more than {DOCUMENT_BYTES_MAX} bytes")
        if document == self._seen:
            return None
        self._seen = document
        return document


def published_keys(place: str) -> PublishedKeys:
    """The keys at a URL, or in the file of that name."""
    if place.startswith(("http://", "https://")):
        url, source = urlsplit(place), KeyUrl(place)
        if url.scheme == "http" and not is_loopback(url.hostname or ""):
            logger.warning("keys come over plain http: whoever is on the way can change them", source=str(source))
        return PublishedKeys(source)
    return PublishedKeys(KeyFile(Path(place)))


class _KeySet(Struct):
    keys: list[dict[str, Any]]


def _trusted_keys(document: bytes) -> Iterator[TrustedKey]:
    """The keys of a set that can check a signature. Others are passed over (RFC 7517 §5). Raises ``ValueError``."""
    trusted = [key for jwk in msgspec.json.decode(document, type=_KeySet).keys if (key := _trusted_key(jwk))]
    if not trusted:
        raise ValueError("has no public key that can check a signature")
    return iter(trusted[:KEYS_MAX])


def _trusted_key(jwk: dict[str, Any]) -> TrustedKey | None:
    try:
        if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            key = JWKRegistry.import_key(jwk)
        possible = _algorithms(key)
        algorithms = possible.intersection([jwk["alg"]]) if "alg" in jwk else possible & _USUAL
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return TrustedKey(key, algorithms, key.kid) if algorithms else None


# What a key is taken for whose set does not say it.
_USUAL = frozenset({"RS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"})
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_OF_CURVE = {
    "P-256": frozenset({"ES256"}),
    "P-384": frozenset({"ES384"}),
    "P-521": frozenset({"ES512"}),
    "Ed25519": frozenset({"EdDSA", "Ed25519"}),
}


def _algorithms(key: Key) -> frozenset[str]:
    """What the key can be used for. A secret has no place in a public set: nothing."""
    if isinstance(key, RSAKey) and key.raw_value.key_size >= RSA_BITS_MIN:
        return _RSA
    if isinstance(key, ECKey | OKPKey):
        return _OF_CURVE.get(key.curve_name, frozenset())
    return frozenset()
