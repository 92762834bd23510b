"""The `queue_stats` read model: how many jobs stand where now, and what went through each queue in every minute.

Waits and run times are kept in histograms whose buckets all have the same relative width, eight to a doubling, so that
a percentile over any window is known to within 9 per cent. Bucket b holds the durations from 2^(b/8) ms up to the next
bucket; only buckets with something in them have a row.
"""

from __future__ import annotations

import math

from ledger.runtime.statements import statement
from ledger_projections.projection import Projection

BUCKETS_PER_DOUBLING = 8

SHORTEST_MS = 0.001
"""What took no time at all is counted here."""

_PER_E_FOLD = BUCKETS_PER_DOUBLING / math.log(2)
"""The same number as in the statement that folds."""

QUEUE_STATS = Projection(
    name="queue_stats",
    version=1,
    tables=("queue_counts", "queue_minutes", "queue_histograms"),
    create=statement("ledger_projections", "queue_stats/create"),
    fold=statement("ledger_projections", "queue_stats/fold"),
    is_shared=True,
)


def bucket_of(milliseconds: float) -> int:
    """Return the bucket that a duration is counted in.

    >>> bucket_of(1), bucket_of(1.09), bucket_of(1.1), bucket_of(1000)
    (0, 0, 1, 79)
    """
    return math.floor(math.log(max(milliseconds, SHORTEST_MS)) * _PER_E_FOLD)


def bounds_of(bucket: int) -> tuple[float, float]:
    """Return the shortest duration of a bucket and the shortest of the next one, in milliseconds.

    >>> bounds_of(80)
    (1024.0, 1116.6799182492239)
    """
    return 2 ** (bucket / BUCKETS_PER_DOUBLING), 2 ** ((bucket + 1) / BUCKETS_PER_DOUBLING)
