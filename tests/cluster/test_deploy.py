"""The configuration in deploy/nats is what its comments say."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from events.jetstream_log import JetStreamLog
from events.nats_settings import NatsSettings
from tests.engines import creation
from tests.faults.process import until
from tests.nats_servers import READY_WITHIN_S, Ports, dies_with_us, server_program

pytestmark = pytest.mark.faults

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[list[Ports]]:
    """Three servers with the configuration of deploy/nats, on free ports, their files in a folder of the test."""
    ports = [Ports() for _ in range(3)]
    (tmp_path / "common.conf").write_text((REPOSITORY / "deploy/nats/common.conf").read_text())
    processes = []
    for number in range(1, 4):
        text = (REPOSITORY / f"deploy/nats/n{number}.conf").read_text()
        for other, free in enumerate(ports, 1):
            for fixed, chosen in ((4220, free.client), (8220, free.monitor), (6220, free.cluster)):
                text = re.sub(rf"\b{fixed + other}\b", str(chosen), text)
        (tmp_path / f"n{number}.conf").write_text(text)
    try:
        for number in range(1, 4):
            with (tmp_path / f"n{number}.log").open("wb") as log:
                command = [*dies_with_us(), *server_program(), "-c", f"n{number}.conf"]
                processes.append(subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log))
        yield ports
    finally:
        for process in processes:
            process.kill()
            process.wait()


def page(ports: Ports, path: str) -> Any:
    """A page of a server's monitoring port."""
    with urllib.request.urlopen(f"http://127.0.0.1:{ports.monitor}{path}", timeout=1) as answer:
        return json.load(answer)


async def test_the_cluster_is_fit_for_production(ports: list[Ports], tmp_path: Path) -> None:
    """Three servers form one cluster, each message is synced before it is acknowledged, the stream has three replicas
    and nothing can be taken out of it; only loopback is listened on."""

    async def are_healthy() -> bool:
        try:
            return all([(await asyncio.to_thread(page, each, "/healthz"))["status"] == "ok" for each in ports])
        except OSError:
            return False

    await until(are_healthy, READY_WITHIN_S, "the servers are healthy")
    urls = ",".join(f"127.0.0.1:{each.client}" for each in ports)
    log = await JetStreamLog.open(tmp_path / "events.db", NatsSettings.of_url(f"nats://{urls}"))
    await log.caught_up()
    await log.append(creation(), 0)
    await log.close()
    for each in ports:
        described = await asyncio.to_thread(page, each, "/varz")
        assert described["jetstream"]["config"]["sync_always"] is True
        assert described["host"] == described["cluster"]["addr"] == "127.0.0.1"
    streams = await asyncio.to_thread(page, ports[0], "/jsz?streams=true&config=true")
    (config,) = [detail["config"] for detail in streams["account_details"][0]["stream_detail"]]
    assert (config["num_replicas"], config["deny_delete"], config["deny_purge"]) == (3, True, True)
