"""The scheduler: one loop for each thing that time brings about. Any number of schedulers may run at once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from ledger.runtime.service import Loop, run_until_signalled
from ledger.wake import Ear, Waker
from ledger_scheduler.due import Due
from ledger_scheduler.expiry import Expiry
from ledger_scheduler.idempotency import IdempotencyKeys
from ledger_scheduler.lookout import Lookout
from ledger_scheduler.metrics import Meters
from ledger_scheduler.partitions import Partitions
from ledger_scheduler.retention import Retention
from ledger_scheduler.silent import Silent
from ledger_scheduler.ticks import Ticks

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from ledger.runtime.database import Database
    from ledger.settings import Settings

LOOPS = 8
"""How many there are at most: each wants a connection at a time."""

_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_RETENTION_PAUSE = timedelta(minutes=5)
_SHORTEST = timedelta(milliseconds=20)
_POLLS = 3
"""Polls between two looks for silent workers: when the next may fall silent is known in advance."""
_WOKEN_AT_MOST = 0.1
"""Seconds between two looks that somebody's appending causes: it may have been a job with a short delay."""


class Scheduler:
    """Everything that happens because time passed, on one database."""

    def __init__(
        self,
        database: Database,
        redis_url: str,
        settings: Settings,
        stop: threading.Event,
        registry: CollectorRegistry | None = None,
        export_to: Path | None = None,
    ) -> None:
        poll = settings.scheduler_poll_interval
        batch = settings.scheduler_batch_size
        timeout = settings.scheduler_stale_job_timeout
        waker = Waker(redis_url)
        due = Due(database, waker, batch)
        self.registry = registry or CollectorRegistry()
        meters = Meters(self.registry)
        silent = Silent(
            database, waker, meters, timeout=timeout, max_crashes=settings.job_max_crashes, batch_size=batch
        )
        ticks = Ticks(database, waker, meters, retry=settings.retry_policy, poll=poll, batch_size=batch)
        look = min(_POLLS * poll, timeout / 10)
        unasked = max(_MINUTE, poll)
        self._stop = stop
        self._redis_url = redis_url
        self._due = Loop(due, stop, shortest=min(_SHORTEST, poll), longest=unasked, until_next=due.until_next)
        ticking = Loop(ticks, stop, shortest=poll, longest=unasked, until_next=ticks.until_next)
        expiring = Loop(Expiry(database, batch), stop, shortest=poll, longest=unasked)
        lookout = Lookout(database, poll, due=self._due, ticks=ticking, expiry=expiring)
        self.loops = [
            self._due,
            ticking,
            expiring,
            Loop(lookout, stop, shortest=poll, longest=poll),
            Loop(silent, stop, shortest=look, longest=look, until_next=silent.until_next),
            Loop(Partitions(database), stop, shortest=_HOUR, longest=_HOUR),
            Loop(IdempotencyKeys(database, settings.job_idempotency_ttl), stop, shortest=_MINUTE, longest=_MINUTE),
        ]

        if settings.event_retention is not None:
            retention = Retention(database, settings.event_retention, meters, export_to)
            self.loops.append(Loop(retention, stop, shortest=_RETENTION_PAUSE, longest=_RETENTION_PAUSE))

    def run(self) -> bool:
        """Turn until `stop` is set, then let every turn end; False where one did not in time."""
        ear = Ear(self._redis_url, self._stop, self._due.wake, pause=_WOKEN_AT_MOST)
        ended = run_until_signalled(self.loops, self._stop)
        ear.close()
        return ended
