"""Sizes and seeds of the cluster tests. NOTELOG_FAULTS=long runs the long form."""

from tests.faults.conftest import LONG, seed

__all__ = ["LONG", "seed"]
