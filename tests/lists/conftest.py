"""The running service of tests/service, for lists."""

from tests.service.conftest import notelog, stopped

__all__ = ["notelog", "stopped"]
