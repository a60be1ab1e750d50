"""Sizes and seeds of the cluster tests. NOTELOG_FAULTS=long runs the long form."""

import pytest

from tests.faults.conftest import LONG, seed

__all__ = ["LONG", "long_only", "seed"]

# Each of them starts five processes and waits for elections: together they would take minutes of every `make test`.
long_only = pytest.mark.skipif(not LONG, reason="of the long form: NOTELOG_FAULTS=long")
