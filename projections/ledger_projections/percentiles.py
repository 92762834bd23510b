"""Percentiles out of histograms: known to within half the width of a bucket, the maximum exactly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ledger_projections.queue_stats import bounds_of
from ledger_projections.views import Percentiles

if TYPE_CHECKING:
    from collections.abc import Sequence


def percentiles(buckets: Sequence[tuple[int, int]], longest_ms: float | None) -> Percentiles:
    """Return the percentiles, in seconds, of what was counted in these (bucket, count), rising.

    >>> percentiles([(0, 98), (80, 2)], 1100.0)
    Percentiles(p50=0.001044, p95=0.001044, p99=1.069332, max=1.1)
    """
    if not buckets or longest_ms is None:
        return Percentiles()
    p50, p95, p99 = (_percentile(buckets, share, longest_ms) for share in (0.50, 0.95, 0.99))
    return Percentiles(p50, p95, p99, longest_ms / 1000)


def _percentile(buckets: Sequence[tuple[int, int]], share: float, longest_ms: float) -> float:
    rank = math.ceil(share * sum(count for _, count in buckets))
    below = 0
    for bucket, count in buckets:
        below += count
        if below >= rank:
            # The geometric middle: no value of the bucket is further from it than half the bucket's relative width.
            return round(min(math.sqrt(math.prod(bounds_of(bucket))), longest_ms) / 1000, 6)
    return longest_ms / 1000
