"""How many requests one client may make in a time."""

import math
import time

from limits import RateLimitItem, parse
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from service.errors import TooManyRequests
from service.live.places import counted_address

# How many subjects and addresses are counted at the same time, at about 300 bytes each. When there are more, the
# oldest windows are forgotten: whoever sends from so many addresses is not held by a limit for each of them.
COUNTED_MAX = 100_000


def parse_rate(text: str) -> RateLimitItem:
    """``20``, ``20/second``, ``600 per minute``, ``5/10 second``. Raises ``ValueError``."""
    text = text.strip()
    try:
        rate = parse(f"{text}/second" if text.isdigit() else text)
    except ValueError:
        rate = None
    if rate is None or rate.amount < 1:
        raise ValueError(f"expected requests in a time, such as 20/second or 600/minute, got {text[:40]!r}")
    return rate


class RateLimit:
    """Counts the requests of each subject or address, in windows that begin with the first request."""

    def __init__(self, rate: RateLimitItem) -> None:
        self._rate = rate
        self._limiter = FixedWindowRateLimiter(Windows())

    def take(self, remote: str | None, subject: str | None) -> None:
        """Count one request, of the subject if it is known. Raises ``TooManyRequests`` when the window has too many."""
        who = f"address {counted_address(remote)}" if subject is None else f"subject {subject}"
        if not self._limiter.hit(self._rate, who):
            opens_at = self._limiter.get_window_stats(self._rate, who).reset_time
            raise TooManyRequests(max(1, math.ceil(opens_at - time.monotonic())))


class Windows(Storage):
    """The counts of the windows that are open, bounded in number. Times are of the clock that nobody sets.

    The storages in memory that come with ``limits`` look at every count after every request, in a thread or task.
    """

    STORAGE_SCHEME = None

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[str, tuple[float, int]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        ends_at, count = self._windows.get(key, (0.0, 0))
        now = time.monotonic()
        if now >= ends_at:
            self._make_room(key)
            ends_at, count = now + expiry, 0
        self._windows[key] = ends_at, count + amount
        return count + amount

    def get(self, key: str) -> int:
        ends_at, count = self._windows.get(key, (0.0, 0))
        return count if time.monotonic() < ends_at else 0

    def get_expiry(self, key: str) -> float:
        return self._windows.get(key, (time.monotonic(), 0))[0]

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    def _make_room(self, key: str) -> None:
        """A window that begins goes to the end, so the first ones are the oldest."""
        self._windows.pop(key, None)
        now = time.monotonic()
        while self._windows:
            oldest, (ends_at, _) = next(iter(self._windows.items()))
            if now < ends_at and len(self._windows) < COUNTED_MAX:
                return
            del self._windows[oldest]
