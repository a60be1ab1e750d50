"""What all tests share: the engines of the log, and seeds that are printed so that a failure can be run again."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import service_log
from tests.engines import Engine, JetStreamEngine, SqliteEngine
from tests.nats_servers import NatsServers
from tests.tools import SKIPPED

# A test may open files and sockets for each example; the time that takes says nothing about what it checks.
settings.register_profile(
    "notelog", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("notelog")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A run in which promises were not looked at says so."""
    for reason, tests in Counter(SKIPPED).items():
        terminalreporter.write_line(f"{tests} TESTS SKIPPED: {reason}.", yellow=True, bold=True)


@pytest.fixture(params=["sqlite", "one server", "three servers"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """A log under test, once for every engine; its folder and its stream are new."""
    if request.param == "sqlite":
        return SqliteEngine(tmp_path)
    return JetStreamEngine(tmp_path, request.getfixturevalue(request.param.replace(" ", "_")))


@pytest.fixture(scope="session")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    """A NATS server that all tests of the session share; each has a stream of its own."""
    yield from running(NatsServers(tmp_path_factory.mktemp("one"), 1))


@pytest.fixture(scope="session")
def three_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    """The same with three servers as a cluster."""
    yield from running(NatsServers(tmp_path_factory.mktemp("three"), 3))


@pytest.fixture(scope="session", autouse=True)
def log_of_services(request: pytest.FixtureRequest) -> None:
    """What services that tests start have as their log."""
    if service_log.NAME:
        service_log.use(request.getfixturevalue(service_log.NAME.replace(" ", "_")))


# Elections and fsyncs of three servers take minutes of two busy cores: `make nats` and the long form run them.
WITH_NATS = (
    os.environ.get("NOTELOG_NATS") == "1" or os.environ.get("NOTELOG_FAULTS") == "long" or bool(service_log.NAME)
)


def running(servers: NatsServers) -> Iterator[NatsServers]:
    """The servers, started and ready; killed at the end."""
    if not WITH_NATS:
        pytest.skip("of the distributed log: make nats, or NOTELOG_NATS=1")
    try:
        servers.start()
        asyncio.run(servers.ready())
        yield servers
    finally:
        servers.kill()


@pytest.fixture
def dice() -> random.Random:
    """Random choices that can be made again: NOTELOG_SEED repeats them."""
    seed = int(os.environ.get("NOTELOG_SEED") or random.randrange(2**32))
    print(f"NOTELOG_SEED={seed}")
    return random.Random(seed)
