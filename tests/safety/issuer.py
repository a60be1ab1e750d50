"""Makes tokens, good and bad: with the standard library and bare cryptography, as a forger would."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ISSUER = "https://identity.example/"
AUDIENCE = "notelog"
SECRET = b"0123456789abcdef0123456789abcdef"
KEY_ID = "key-1"


class Issuer:
    """An identity provider with one public key, and the secret of a service that shares one."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        self.other_key = rsa.generate_private_key(65537, 2048)

    def key_set(self, *more: dict[str, Any]) -> bytes:
        """The public keys as a JWKS document."""
        return json.dumps({"keys": [jwk(self.key, KEY_ID), *more]}).encode()

    def token(self, scope: str = "", *, shared: bool, **claims: Any) -> str:
        """A good token, but for the claims that are given. ``shared``: signed with the secret, else with the key."""
        return self._signed(_claims(scope, claims), shared)

    def pem(self) -> bytes:
        """The public key, as everybody may have it."""
        format_ = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, format_)

    def bad_tokens(self, scope: str, *, shared: bool) -> dict[str, str]:
        """What must never be let in, by what is wrong with it. Each has the scope that would be needed."""
        now = int(time.time())
        good = self.token(scope, shared=shared)
        claims = _claims(scope, {})

        def made(**changed: Any) -> str:
            return self._signed(_claims(scope, changed), shared)

        return {
            "expired": made(exp=now - 31),
            "never expires": made(exp=None),
            "exp is text": made(exp=str(now + 60)),
            "exp is no number": made(exp=float("nan")),
            "not yet": made(nbf=now + 60),
            "from the future": made(iat=now + 3600),
            "wrong issuer": made(iss="https://identity.example.evil.example/"),
            "no issuer": made(iss=None),
            "wrong audience": made(aud="another service"),
            "wrong audiences": made(aud=["another service", "notelog2"]),
            "no audience": made(aud=None),
            "no subject": made(sub=None),
            "empty subject": made(sub=""),
            "subject that cannot be an author": made(sub="x" * 201),
            "subject with U+0000": made(sub="a\0b"),
            "subject that is no text": made(sub="\ud800"),
            "scope is a list": made(scope=[scope]),
            "wrong signature": good[:-8] + ("A" * 8 if not good.endswith("A" * 8) else "B" * 8),
            "no signature": good.rpartition(".")[0] + ".",
            "changed claims": _swap_claims(good, {**claims, "sub": "mallory"}),
            "alg none": encode({"alg": "none"}, claims, lambda _: b""),
            "alg nOnE": encode({"alg": "nOnE", "typ": "JWT"}, claims, lambda _: b""),
            "alg none, signed": encode({"alg": "none"}, claims, lambda text: _mac(text, SECRET)),
            "HS256 with the public key": hs256(claims, self.pem()),
            "HS256 with the public key and its id": encode(
                {"alg": "HS256", "kid": KEY_ID}, claims, lambda text: _mac(text, self.pem())
            ),
            "HS256 with the key set": hs256(claims, self.key_set()),
            "HS256 with nothing": hs256(claims, b""),
            "HS512 with the secret": encode({"alg": "HS512"}, claims, lambda text: hmac.digest(SECRET, text, "sha512")),
            "another key under the same id": rs256(claims, self.other_key),
            "a key of its own in the header": encode(
                {"alg": "RS256", "jwk": jwk(self.other_key, KEY_ID)}, claims, lambda text: _sign(text, self.other_key)
            ),
            "an unknown key id": rs256(claims, self.other_key, "key-2"),
            "critical and unknown": encode(
                {"alg": "HS256", "crit": ["x"], "x": 1}, claims, lambda text: _mac(text, SECRET)
            ),
            "no alg": encode({}, claims, lambda text: _mac(text, SECRET)),
            "not JSON": f"{_b64(b'{')}.{_b64(b'{')}.{_b64(b'x')}",
            "nested": f"{_b64(b'[' * 5000)}.{_b64(b'{}')}.{_b64(b'x')}",
            "no token": "token",
            "two dots": "..",
            "too long": good + "A" * 8000,
        }

    def _signed(self, claims: dict[str, Any], shared: bool) -> str:
        return hs256(claims, SECRET) if shared else rs256(claims, self.key)


def encode(header: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A JWS in its compact form, however wrong."""
    text = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
    return f"{text}.{_b64(sign(text.encode()))}"


def hs256(claims: dict[str, Any], secret: bytes) -> str:
    """Signed with a secret."""
    return encode({"alg": "HS256", "typ": "JWT"}, claims, lambda text: _mac(text, secret))


def rs256(claims: dict[str, Any], key: rsa.RSAPrivateKey, key_id: str | None = KEY_ID) -> str:
    """Signed with an RSA key."""
    named = {"kid": key_id} if key_id is not None else {}
    return encode({"alg": "RS256", **named}, claims, lambda text: _sign(text, key))


def jwk(key: rsa.RSAPrivateKey, key_id: str) -> dict[str, Any]:
    """The public half of a key, as it stands in a key set."""
    numbers = key.public_key().public_numbers()
    parts = {
        name: _b64(value.to_bytes((value.bit_length() + 7) // 8))
        for name, value in (("n", numbers.n), ("e", numbers.e))
    }
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key_id, **parts}


def _claims(scope: str, changed: dict[str, Any]) -> dict[str, Any]:
    now = int(time.time())
    claims = {"sub": "alice", "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 3600, "scope": scope, **changed}
    return {name: value for name, value in claims.items() if value is not None}


def _swap_claims(token: str, claims: dict[str, Any]) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{_b64(json.dumps(claims).encode())}.{signature}"


def _sign(text: bytes, key: rsa.RSAPrivateKey) -> bytes:
    return key.sign(text, padding.PKCS1v15(), hashes.SHA256())


def _mac(text: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, text, hashlib.sha256)


def _b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
