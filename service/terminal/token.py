"""``notelog token``: makes a token from the secret that the service checks tokens with."""

import json
import os
import re
import time
from typing import Any

import click

from service.http.scopes import SCOPES
from service.settings import Settings, WrongSetting, from_environment

_TTL = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def read_ttl(_context: click.Context, _option: click.Parameter, value: str) -> int:
    """How long a token is good, in seconds: a number and s, m, h or d."""
    found = _TTL.fullmatch(value)
    if found is None:
        raise click.BadParameter(f"expected a number and s, m, h or d, such as 12h or 30d, got {value!r}")
    return int(found[1]) * _SECONDS[found[2]]


def read_scopes(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """Scopes, separated by spaces or commas."""
    scopes = value.replace(",", " ").split()
    if not scopes or not set(scopes) <= set(SCOPES):
        raise click.BadParameter(f"expected some of {', '.join(SCOPES)}, got {value!r}")
    return " ".join(scopes)


@click.command()
@click.option("--sub", required=True, metavar="NAME", help="Who it is for: the actor of the events.")
@click.option(
    "--scope", required=True, callback=read_scopes, metavar='"…"', help=f"What it allows: {', '.join(SCOPES)}."
)
@click.option(
    "--ttl", callback=read_ttl, default="30d", show_default=True, metavar="TIME", help="How long: 90s, 12h, 30d."
)
@click.option("--json", "as_json", is_flag=True, help="Print the token and when it ends as JSON.")
def token(sub: str, scope: str, ttl: int, as_json: bool) -> None:
    """Make a token from NOTELOG_AUTH_SECRET (and NOTELOG_AUTH_ISSUER, NOTELOG_AUTH_AUDIENCE where they are set)."""
    settings = Settings(**from_environment(os.environ))
    settings.check()
    if settings.auth_secret is None:
        raise WrongSetting("NOTELOG_AUTH_SECRET: expected the secret that the service has; it is not set")
    claims = _claims(settings, sub, scope, ttl)
    made = _sign(claims, settings.auth_secret)
    click.echo(json.dumps({"token": made, "expires_at": claims["exp"]}) if as_json else made)


def _claims(settings: Settings, subject: str, scope: str, ttl_s: int) -> dict[str, Any]:
    now = int(time.time())
    given = {"iss": settings.auth_issuer, "aud": settings.auth_audience}
    named = {name: value for name, value in given.items() if value is not None}
    return {"sub": subject, "scope": scope, "iat": now, "exp": now + ttl_s, **named}


def _sign(claims: dict[str, Any], secret: bytes) -> str:
    """Signed, and read as the service will read it: what this prints is good there."""
    from joserfc import jwt
    from joserfc.jwk import OctKey

    from service.errors import Unauthorized
    from service.http.auth import identity_of

    try:
        identity_of(claims)
    except Unauthorized as error:
        raise WrongSetting(f"--sub {claims['sub'][:40]!r}: {error}") from None
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(secret))
