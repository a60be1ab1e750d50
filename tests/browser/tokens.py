"""Tokens for a service with authentication."""

from __future__ import annotations

from typing import Any

from joserfc import jwt
from joserfc.jwk import OctKey

SECRET = "a secret that is used by nobody and nowhere else"
SETTINGS = {"NOTELOG_AUTH_SECRET": SECRET}
EVERYTHING = "notes:read notes:write audit:read"


def token(scope: str = EVERYTHING, **claims: Any) -> str:
    """A good token, but for the claims that are given."""
    good = {"sub": "mara", "scope": scope, "exp": 4_000_000_000}
    return jwt.encode({"alg": "HS256"}, {**good, **claims}, OctKey.import_key(SECRET))
