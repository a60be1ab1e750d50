"""What a measurement yields: samples, their spread, and ratios taken round by round."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from statistics import median

from msgspec import Struct


class Sample(Struct, frozen=True):
    """One turn of one contender. CPU is that of the whole server process, its threads included."""

    requests_per_s: float
    cpu_us: float
    loop_us: float | None  # of it the event loop's thread, if it has one
    p50_ms: float
    p99_ms: float
    memory_mib: float
    wrk_share: float  # of a core, taken by the generator


class Spread(Struct, frozen=True):
    """The median of several rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """`median (lowest–highest)`; one value alone is shown without a spread."""
        if self.low == self.high:
            return number(self.median)
        return f"{number(self.median)} ({number(self.low)}–{number(self.high)})"


def spread(values: Sequence[float]) -> Spread:
    """The median and the extremes of at least one value."""
    return Spread(median(values), min(values), max(values))


def spread_of(samples: Sequence[Struct], figure: str) -> Spread:
    """The spread of one field over several samples."""
    return spread([getattr(sample, figure) for sample in samples])


def ratio(above: Sequence[Struct], below: Sequence[Struct], figure: str) -> Spread:
    """One contender's figure over another's, each round with its own round: a slow minute strikes both."""
    pairs = zip(above, below, strict=True)
    return spread([getattr(mine, figure) / getattr(theirs, figure) for mine, theirs in pairs])


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` (0 to 1) of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def number(value: float) -> str:
    """Three digits that count, and no more than a reader needs: 12,345, 123, 12.3, 1.23, 0.123."""
    size = abs(value)
    decimals = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{decimals}f}"
