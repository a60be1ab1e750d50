"""Where the servers of the distributed log are, and how to be let in."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import nkeys  # type: ignore[import-untyped]

CONNECT_WITHIN_S = 3.0
# A connection on which nothing comes back is given up after two of these; the log notices before by its own questions.
PING_INTERVAL_S = 5


class NatsSettings(msgspec.Struct, frozen=True):
    """Where the servers are, and how to be let in. Files are paths; ``replicas`` None: three in a cluster, else one."""

    servers: tuple[str, ...]
    stream: str = "notelog"
    replicas: int | None = None
    user: str | None = None
    password: str | None = None
    nkey_seed: Path | None = None
    credentials: Path | None = None
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    @classmethod
    def of_url(cls, url: str, **others: Any) -> "NatsSettings":
        """From ``nats://host:4222,host2:4222``; ``tls://`` asks for an encrypted connection."""
        scheme, _, hosts = url.partition("://")
        names = [host.strip() for host in hosts.split(",")]
        if scheme not in ("nats", "tls") or not all(names):
            raise ValueError(f"expected nats://host:port,host2:port, got {url}")
        return cls(servers=tuple(f"{scheme}://{name}" for name in names), **others)

    @property
    def shown_servers(self) -> str:
        """The servers, fit to be shown: without who is let in."""
        return ", ".join(map(without_password, self.servers))

    def check(self) -> None:
        """Look into the files. Raises ``ValueError`` that begins with the name of the setting."""
        if self.nkey_seed is not None:
            try:
                nkeys.from_seed(bytearray(self.nkey_seed.read_bytes().strip()))
            except (nkeys.NkeysError, OSError, ValueError) as error:
                raise ValueError(f"nkey_seed: {self.nkey_seed} has no nkey seed in it ({error!r})") from None
        if self.credentials is not None:
            found = self.credentials.read_bytes()
            if b"BEGIN NATS USER JWT" not in found or b"BEGIN USER NKEY SEED" not in found:
                raise ValueError(f"credentials: {self.credentials} is no creds file: it needs a JWT and a seed")
        if self.tls_key is not None and self.tls_certificate is None:
            raise ValueError("tls_key: means nothing without the certificate")
        for name in ("tls_ca", "tls_certificate"):
            try:
                self._tls(**{name: getattr(self, name)})
            except OSError as error:
                raise ValueError(f"{name}: {getattr(self, name)} cannot be used ({error})") from None

    def options(self, on_loss: Callable[[], None]) -> dict[str, Any]:
        """What the client library is told for one connection; ``on_loss`` is called when that ends."""

        async def ignore(_: Exception) -> None:
            """What fails is told by whatever waited for it; here it would be told twice."""

        async def closed() -> None:
            on_loss()

        options: dict[str, Any] = {
            "name": "notelog",
            "allow_reconnect": False,
            "max_reconnect_attempts": 1,
            "reconnect_time_wait": 0,
            "connect_timeout": CONNECT_WITHIN_S,
            "ping_interval": PING_INTERVAL_S,
            "max_outstanding_pings": 2,
            "error_cb": ignore,
            "closed_cb": closed,
            "user": self.user,
            "password": self.password,
            "nkeys_seed": self.nkey_seed and str(self.nkey_seed),
            "user_credentials": self.credentials and str(self.credentials),
        }
        if tls := self._tls(self.tls_ca, self.tls_certificate):
            options["tls"] = tls
        return options

    def _tls(self, tls_ca: Path | None = None, tls_certificate: Path | None = None) -> ssl.SSLContext | None:
        """What encrypts, where one of the two is given. Raises ``OSError``."""
        if not tls_ca and not tls_certificate:
            return None
        context = ssl.create_default_context(cafile=tls_ca)
        if tls_certificate:
            context.load_cert_chain(tls_certificate, self.tls_key)
        return context


def without_password(server: str) -> str:
    """A server's URL, fit to be shown."""
    scheme, _, rest = server.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
