"""The network is cut between the servers: who leads without a majority is not believed, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.process import until
from tests.nats_servers import Place

from .cluster import GOES_ON_WITHIN_S, Cluster, Loads, assert_kept
from .conftest import LONG
from .network import cut_off, heal, network
from .test_servers_go import ANSWERS, leader

pytestmark = pytest.mark.faults

CUTS = 3 if LONG else 1


@pytest.fixture
def places() -> Iterator[list[Place]]:
    """Three namespaces."""
    with network() as places:
        yield places


async def test_the_leader_is_cut_off(places: list[Place], tmp_path: Path, seed: int) -> None:
    """The leader loses the other servers but no client: nodes that hang on it go over, and writes go on."""
    async with Cluster(tmp_path, nodes=2, places=places) as cluster:
        async with Loads(cluster, seed) as loads:
            for _ in range(CUTS):
                await loads.answered(ANSWERS)
                await cluster.whole()
                alone = await leader(cluster)
                cut_off(alone.number)
                await loads.answered(ANSWERS)

                async def leads_elsewhere(alone: object = alone) -> bool:
                    return await leader(cluster) is not alone

                await until(leads_elsewhere, GOES_ON_WITHIN_S, "another server leads")
                heal(alone.number)
                await loads.answered(ANSWERS)
        await assert_kept(cluster, loads)
