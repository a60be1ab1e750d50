"""What can be set from outside, checked once at the start."""

import ipaddress
from pathlib import Path

from msgspec import Struct

from events.errors import NotelogError


class WrongSetting(NotelogError):
    """A setting cannot be used. The message names it in one line."""


class Settings(Struct, frozen=True):
    """The settings of ``notelog serve``. Names, defaults and meanings: docs/OPERATIONS.md."""

    data: Path = Path("notelog-data")
    host: str = "127.0.0.1"
    port: int = 8080
    log: str = "sqlite"
    insecure: bool = False
    require_if_match: bool = False
    access_log: bool = False

    def check(self) -> None:
        """Raises ``WrongSetting`` for what can be seen to be wrong before anything is opened."""
        if not _is_loopback(self.host) and not self.insecure:
            raise WrongSetting(
                f"--host {self.host}: everybody who reaches this address could change notes; "
                "configure authentication (NOTELOG_AUTH_SECRET) or say --insecure"
            )
        if self.log != "sqlite" and not self.log.startswith("nats://"):
            raise WrongSetting(f"--log {self.log}: expected sqlite or nats://host:port")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
