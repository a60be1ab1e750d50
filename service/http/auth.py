"""Who asks: a bearer token (RFC 6750) that is a signed JWT (RFC 7519), and what it allows.

The problem: a signature costs 50 µs or more to check, which is half of what a request costs. The way taken: what a
token says is remembered under the token's hash until it ends, bounded in number, and forgotten when the keys change.
"""

import hashlib
import time
import warnings
from typing import Annotated, Any

import msgspec
from joserfc import jwt
from joserfc.errors import (
    BadSignatureError,
    ClaimError,
    ExpiredTokenError,
    JoseError,
    MissingClaimError,
    SecurityWarning,
)
from joserfc.jws import extract_compact
from msgspec import Meta, Struct

from events.note import CREATED_BY_CHARACTERS_MAX
from service.errors import Unauthorized
from service.http.jwks import Keys, SharedSecret, published_keys
from service.settings import Settings

# How far the clock of the issuer may be ahead of this service's: a token may come before its ``nbf`` and ``iat``. Its
# end stands as it is written.
LEEWAY_S = 30
# As long as a header may be; a token in a websocket frame may be no longer.
TOKEN_BYTES_MAX = 8190
# What is remembered of tokens, at about 700 bytes each.
REMEMBERED_TOKENS_MAX = 10_000


class Identity(Struct, frozen=True):
    """Who asks and what is allowed. ``expires_at``: the token's ``exp``, in seconds since 1970."""

    subject: str
    scopes: frozenset[str]
    expires_at: float

    def allows(self, *scopes: str) -> bool:
        """Whether the token has all the scopes."""
        return self.scopes.issuperset(scopes)


class Claims(Struct, frozen=True):
    """What is read of a token. The subject becomes an event's actor and a note's author, and must fit both."""

    sub: Annotated[str, Meta(min_length=1, max_length=CREATED_BY_CHARACTERS_MAX, pattern=r"^[^\x00]*$")]
    exp: float
    scope: str = ""


class Authenticator:
    """Tells from a token who asks."""

    def __init__(self, keys: Keys, issuer: str | None = None, audience: str | None = None) -> None:
        self._keys = keys
        self._claims = _expected(issuer, audience)
        self._takes_audience = audience is not None
        self._remembered: dict[bytes, Identity] = {}
        self._remembered_generation = keys.generation

    async def keep_fresh(self) -> None:
        """Follow changes of the keys, until cancelled."""
        await self._keys.keep_fresh()

    async def identify(self, token: str) -> Identity:
        """Who shows the token. Raises ``Unauthorized``, and ``KeysUnavailable`` while there are none to check with.

        Cancel: safe.
        """
        if self._remembered_generation != self._keys.generation:
            self._remembered.clear()
            self._remembered_generation = self._keys.generation
        hash_ = hashlib.sha256(token.encode(errors="replace")).digest()
        identity = self._remembered.pop(hash_, None)
        if identity is None:
            identity = await self._verify(token)
        if time.time() >= identity.expires_at:
            raise Unauthorized("the token has expired")
        self._remember(hash_, identity)
        return identity

    def _remember(self, hash_: bytes, identity: Identity) -> None:
        """Keep it as the newest; the one that was shown longest ago goes."""
        if self._remembered_generation != self._keys.generation:
            return  # checked with keys that have changed meanwhile: the next time it is checked with those
        if len(self._remembered) >= REMEMBERED_TOKENS_MAX:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[hash_] = identity

    async def _verify(self, token: str) -> Identity:
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            raise Unauthorized("this is no token")
        claims = await self._signed_claims(token)
        try:
            self._claims.validate(claims)
        except JoseError as error:
            raise Unauthorized(_in_words(error)) from None
        if "aud" in claims and not self._takes_audience:
            # RFC 7519 §4.1.3: who does not find itself named as an audience must refuse.
            raise Unauthorized("the token is for another audience")
        return identity_of(claims)

    async def _signed_claims(self, token: str) -> dict[str, Any]:
        """What the token says, if one of our keys has signed it with the algorithm that belongs to this key."""
        algorithm, key_id = _header(token)
        for trusted in await self._keys.named(algorithm, key_id):
            try:
                with warnings.catch_warnings():
                    # EdDSA is the old name of Ed25519 (RFC 9864), and still the one that providers use.
                    warnings.simplefilter("ignore", SecurityWarning)
                    return jwt.decode(token, trusted.key, algorithms=[algorithm]).claims
            except BadSignatureError:
                continue
            except (JoseError, ValueError, RecursionError):
                raise Unauthorized("this is no token") from None
        raise Unauthorized("the token is not signed by a key that is trusted here")


async def authenticator_of(settings: Settings) -> Authenticator:
    """What the settings ask for. Raises ``WrongSetting`` when the file of keys has none."""
    keys: Keys
    if settings.auth_secret is not None:
        keys = SharedSecret(settings.auth_secret)
    else:
        assert settings.auth_jwks is not None
        keys = published_keys(settings.auth_jwks)
        await keys.begin()
    return Authenticator(keys, settings.auth_issuer, settings.auth_audience)


def _expected(issuer: str | None, audience: str | None) -> jwt.JWTClaimsRegistry:
    registry = jwt.JWTClaimsRegistry(leeway=LEEWAY_S, exp={"essential": True}, sub={"essential": True})
    if issuer is not None:
        registry.options["iss"] = {"essential": True, "value": issuer}
    if audience is not None:
        registry.options["aud"] = {"essential": True, "value": audience}
    return registry


def _header(token: str) -> tuple[str, str | None]:
    """The token's algorithm and key id. They choose among the keys that are trusted, and decide nothing else."""
    try:
        header = extract_compact(token.encode()).headers()
    except (JoseError, ValueError, RecursionError):
        raise Unauthorized("this is no token") from None
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or not isinstance(key_id, str | None):
        raise Unauthorized("this is no token")
    return algorithm, key_id


def identity_of(claims: dict[str, Any]) -> Identity:
    """What the claims of a token that is signed and in its time say. Raises ``Unauthorized``."""
    try:
        known = msgspec.convert(claims, Claims)
        known.sub.encode()  # half a surrogate pair is no text that can be stored
    except msgspec.ValidationError as error:  # says which claim and what was expected, not what it is
        raise Unauthorized(f"a claim of the token does not fit: {error}") from None
    except (UnicodeEncodeError, OverflowError):
        raise Unauthorized("a claim of the token does not fit: sub or exp") from None
    return Identity(known.sub, frozenset(known.scope.split(" ")) - {""}, known.exp)


def _in_words(error: JoseError) -> str:
    """What is wrong, without repeating what the token says."""
    if isinstance(error, ExpiredTokenError):
        return "the token has expired"
    if isinstance(error, MissingClaimError):
        return f"a claim is missing: {error.claim}"
    if isinstance(error, ClaimError):
        return f"a claim does not fit: {error.claim}"
    return "this is no token"
