"""Timeout: a run that took longer than it may has failed, whatever it came to in the end.

The watch (`ledger_workers.watch`) tells a handler that its time is over, and ends it where its executor can. Here, on
the way out, what came too late becomes `JobTimeout`, or `DeadlineExceeded` where the deadline cut it short.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.handlers import Job


def timeout(job: Job, call_next: Callable[[Job], Any]) -> Any:
    """Fail a run that is over its time."""
    ends_at = time.monotonic() + job.timeout.total_seconds()
    try:
        result = call_next(job)
    except BaseException as error:
        if time.monotonic() > ends_at:
            raise job.over_time() from error
        raise
    if time.monotonic() > ends_at:
        raise job.over_time()
    return result
