"""Sizes and seeds of the cluster tests. NOTELOG_FAULTS=long runs the long form."""

import pytest

from tests.conftest import WITH_NATS
from tests.faults.conftest import LONG, seed

__all__ = ["LONG", "seed"]


@pytest.fixture(autouse=True)
def of_the_distributed_log() -> None:
    """Elections take minutes of two busy cores: ``make nats`` and the long form run these."""
    if not WITH_NATS:
        pytest.skip("of the distributed log: make nats, or NOTELOG_NATS=1")
