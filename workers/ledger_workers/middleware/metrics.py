"""Metrics: how long each run took and whether it ended well."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ledger.outcomes import said_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.handlers import Job
    from ledger_workers.metrics import Meters


class Metrics:
    """Measures runs by queue, type and outcome."""

    def __init__(self, meters: Meters) -> None:
        self._duration = meters.duration
        self._observe: dict[tuple[str, str, str], Callable[[float], None]] = {}

    def __call__(self, job: Job, call_next: Callable[[Job], Any]) -> Any:
        began = time.monotonic()
        outcome = "failed"
        try:
            result = call_next(job)
            outcome = said_of(result)
            return result
        finally:
            labels = (job.queue, job.type, outcome)
            observe = self._observe.get(labels)
            if observe is None:
                observe = self._observe[labels] = self._duration.labels(*labels).observe
            observe(time.monotonic() - began)
