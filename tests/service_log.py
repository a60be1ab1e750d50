"""The log under the services that tests start: the embedded one; with NOTELOG_TEST_LOG a stream for each data folder.

NOTELOG_TEST_LOG is `one server` or `three servers`. So whatever is promised of the service can be tried on the
distributed log, with the same tests.
"""

import hashlib
import os
from pathlib import Path

from tests.nats_servers import NatsServers

NAME = os.environ.get("NOTELOG_TEST_LOG", "")

_servers: NatsServers | None = None


def use(servers: NatsServers) -> None:
    """From now on services are nodes on these servers."""
    global _servers  # noqa: PLW0603
    _servers = servers


def settings_for(data: Path) -> dict[str, str]:
    """The settings of a service on the folder: for the same folder always the same stream."""
    if _servers is None:
        return {}
    return {"log": _servers.url, "nats_stream": f"test-{hashlib.sha256(str(data).encode()).hexdigest()[:16]}"}
