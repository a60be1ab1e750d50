"""What can be set from outside, checked once at the start."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from events.errors import NotelogError


class WrongSetting(NotelogError):
    """A setting cannot be used. The message names it in one line."""


class Secret(bytes):
    """Bytes that are never shown, whoever prints the settings."""

    def __repr__(self) -> str:
        return "Secret(…)"


# HS256 signs with SHA-256: a shorter secret is weaker than the hash (RFC 7518 §3.2).
AUTH_SECRET_BYTES_MIN = 32


class Settings(Struct, frozen=True):
    """The settings of ``notelog serve``. Names, defaults and meanings: docs/OPERATIONS.md.

    ``None`` for a limit: there is none. ``allowed_origins``: those beside the service's own.
    """

    data: Path = Path("notelog-data")
    host: str = "127.0.0.1"
    port: int = 8080
    log: str = "sqlite"
    insecure: bool = False
    require_if_match: bool = False
    access_log: bool = False
    auth_secret: Secret | None = None
    auth_jwks: str | None = None
    auth_issuer: str | None = None
    auth_audience: str | None = None
    allowed_origins: tuple[str, ...] = ()
    max_connections: int = 20_000
    max_connections_per_address: int | None = None
    rate_limit: str | None = None
    ledger_key: Path | None = None
    nats_stream: str = "notelog"
    nats_replicas: int | None = None
    nats_user: str | None = None
    nats_password: Secret | None = None
    nats_nkey_seed: Path | None = None
    nats_credentials: Path | None = None
    nats_tls_ca: Path | None = None
    nats_tls_certificate: Path | None = None
    nats_tls_key: Path | None = None

    @property
    def authentication(self) -> bool:
        """Whether tokens are asked for."""
        return self.auth_secret is not None or self.auth_jwks is not None

    def check(self) -> None:
        """Raises ``WrongSetting`` for what can be seen to be wrong before anything is opened."""
        if not is_loopback(self.host) and not self.insecure and not self.authentication:
            raise WrongSetting(
                f"--host {self.host}: everybody who reaches this address could change notes; "
                "configure authentication (NOTELOG_AUTH_SECRET) or say --insecure"
            )
        if self.log != "sqlite" and not self.log.startswith("nats://"):
            shown = "--log" if "@" in self.log else f"--log {self.log}"  # what stands before an @ may be a password
            raise WrongSetting(f"{shown}: expected sqlite or nats://host:port")
        self._check_authentication()

    def _check_authentication(self) -> None:
        if self.auth_secret is not None and self.auth_jwks is not None:
            raise WrongSetting("NOTELOG_AUTH_SECRET and NOTELOG_AUTH_JWKS: expected one of the two")
        if self.auth_secret is not None and (size := len(self.auth_secret)) < AUTH_SECRET_BYTES_MIN:
            raise WrongSetting(f"NOTELOG_AUTH_SECRET: expected at least {AUTH_SECRET_BYTES_MIN} bytes, got {size}")
        for name, value in (("ISSUER", self.auth_issuer), ("AUDIENCE", self.auth_audience)):
            if value is not None and not self.authentication:
                raise WrongSetting(f"NOTELOG_AUTH_{name}: means nothing without NOTELOG_AUTH_SECRET or _JWKS")


class Variable(Struct, frozen=True):
    """A setting that has no option. ``parse`` raises ``ValueError``; ``meaning``: what ``serve --help`` says of it."""

    field: str
    parse: Callable[[str], Any]
    meaning: str


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings that have no option on the command line, where every user of the machine could read a secret.

    An empty value counts as unset, but for what guards the door: there it is a mistake. Raises ``WrongSetting``.
    """
    values = {}
    for name, variable in ENVIRONMENT.items():
        text = environment.get(name)
        if text is None or (not text.strip() and not name.startswith("NOTELOG_AUTH_")):
            continue
        try:
            values[variable.field] = variable.parse(text)
        except ValueError as error:
            raise WrongSetting(f"{name}: {error}") from None
    return values


def _count(text: str) -> int:
    text = text.strip()
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError(f"expected a whole number above 0, got {text[:40]!r}")
    return int(text)


def _given(text: str) -> str:
    if not text.strip():
        raise ValueError("is set, and empty")
    return text.strip()


def _secret(text: str) -> Secret:
    """The bytes as they are: whoever else signs with them does not trim them either."""
    _given(text)
    return Secret(os.fsencode(text))


def _stream_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text.strip()):
        raise ValueError("expected 1 to 64 letters, digits, - and _")
    return text.strip()


def _replicas(text: str) -> int:
    if text.strip() not in ("1", "3", "5"):
        raise ValueError(f"expected 1, 3 or 5, got {text[:40]!r}")
    return int(text)


def _file(text: str) -> Path:
    if not (path := Path(text.strip())).is_file():
        raise ValueError(f"there is no file {path}")
    return path


def _origins(text: str) -> tuple[str, ...]:
    from service.http.origins import parse_allowed

    return parse_allowed(text)


def _rate(text: str) -> str:
    from service.http.rate_limits import parse_rate

    parse_rate(text)
    return text


ENVIRONMENT: dict[str, Variable] = {
    "NOTELOG_AUTH_SECRET": Variable(
        "auth_secret", _secret, "Ask for tokens, signed with this secret (HS256, at least 32 bytes)."
    ),
    "NOTELOG_AUTH_JWKS": Variable(
        "auth_jwks", _given, "Ask for tokens of an identity provider: its key set, a file or a URL."
    ),
    "NOTELOG_AUTH_ISSUER": Variable("auth_issuer", _given, "What the iss of a token must be."),
    "NOTELOG_AUTH_AUDIENCE": Variable("auth_audience", _given, "What must be in the aud of a token."),
    "NOTELOG_ALLOWED_ORIGINS": Variable(
        "allowed_origins", _origins, "Pages of other origins that may ask: https://app.example, …; *: all."
    ),
    "NOTELOG_MAX_CONNECTIONS": Variable("max_connections", _count, "Websockets at the same time. Default: 20000."),
    "NOTELOG_MAX_CONNECTIONS_PER_ADDRESS": Variable(
        "max_connections_per_address", _count, "The same for one address. Default: no limit."
    ),
    "NOTELOG_LEDGER_KEY": Variable(
        "ledger_key", Path, "The Ed25519 key (PEM) that signs. Default: one of its own in the folder."
    ),
    "NOTELOG_RATE_LIMIT": Variable(
        "rate_limit", _rate, "Requests in a time, for each who asks: 20/second. Default: no limit."
    ),
    "NOTELOG_NATS_STREAM": Variable(
        "nats_stream", _stream_name, "The stream of the distributed log. Default: notelog."
    ),
    "NOTELOG_NATS_REPLICAS": Variable("nats_replicas", _replicas, "Its replicas: 1, 3 or 5. Default: 3 in a cluster."),
    "NOTELOG_NATS_USER": Variable("nats_user", _given, "Who this node is to NATS."),
    "NOTELOG_NATS_PASSWORD": Variable("nats_password", _secret, "And the password."),
    "NOTELOG_NATS_NKEY_SEED": Variable("nats_nkey_seed", _file, "Or a file with the seed of an nkey."),
    "NOTELOG_NATS_CREDENTIALS": Variable("nats_credentials", _file, "Or a file with credentials."),
    "NOTELOG_NATS_TLS_CA": Variable("nats_tls_ca", _file, "Who is trusted for TLS to NATS: a file."),
    "NOTELOG_NATS_TLS_CERTIFICATE": Variable("nats_tls_certificate", _file, "This node's certificate: a file."),
    "NOTELOG_NATS_TLS_KEY": Variable("nats_tls_key", _file, "And its key: a file."),
}


def without_password(text: str) -> str:
    """The text, with what stands before each host of a URL hidden: a user, a password or a token."""
    return re.sub(r"(//|,)[^,\s]*@", r"\1(hidden)@", text)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
