"""Arithmetic of measurements: percentiles, medians with spread, rates over time."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NANO = 1e-9


@dataclass(frozen=True, slots=True)
class Summary:
    """What several repetitions gave: the median, and the least and greatest."""

    median: float
    low: float
    high: float
    count: int

    @property
    def spread(self) -> float:
        """Half the distance between least and greatest, as a share of the median."""
        return (self.high - self.low) / 2 / self.median if self.median else 0.0


def summary(values: Sequence[float]) -> Summary:
    return Summary(median(values), min(values), max(values), len(values))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed (nearest rank).

    >>> percentile([10, 20, 30, 40], 0.5), percentile([10, 20, 30, 40], 0.99)
    (20, 40)
    """
    if not values:
        raise ValueError("there is no percentile of nothing")
    ordered = sorted(values)
    rank = max(-(-len(ordered) * round(share * 10_000) // 10_000), 1)
    return ordered[rank - 1]


def quantiles(values: Sequence[float]) -> list[tuple[float, float]]:
    """Return (share, value) from the median's surroundings far into the tail, enough to draw a distribution."""
    shares = [n / 100 for n in range(1, 100)] + [0.995, 0.999, 1.0]
    return [(share, percentile(values, share)) for share in shares]


def rate(times_ns: Sequence[int], until_ns: int = 0) -> float:
    """Return jobs a second from the first to the last time, or to a later moment at which all was done.

    >>> rate([0, 500_000_000, 1_000_000_000])
    2.0
    """
    if len(times_ns) < 2:
        raise ValueError("a rate needs two times")
    last = max(times_ns)
    seconds = (max(last, until_ns) - min(times_ns)) * NANO
    return (len(times_ns) - 1) / seconds if seconds else float("inf")


def over_time(times_ns: Sequence[int], most: int = 50, least_ns: float = 0.2 / NANO) -> list[tuple[float, float]]:
    """Return (seconds since the first, jobs a second) for equal slices of the whole time, none shorter than `least_ns`.

    Shorter ones would show the batches in which jobs are taken, not a rate.
    """
    begun, ended = min(times_ns), max(times_ns)
    bins = min(most, int((ended - begun) / least_ns) or 1)
    width = max((ended - begun) / bins, 1.0)
    counts = [0] * bins
    for at in times_ns:
        counts[min(int((at - begun) / width), bins - 1)] += 1
    return [((n + 0.5) * width * NANO, count / (width * NANO)) for n, count in enumerate(counts)]
