"""Silent workers: the leases of a worker that has not been heard of for too long are released, each counted as a crash.

Postgres' clock alone judges heartbeats, and only after a vigil of the same length. The log refuses a release of a lease
that has ended meanwhile, and afterwards the outcome of a worker that wakes up late.
"""

from __future__ import annotations

import time
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from ledger import commands
from ledger.events import Enqueued
from ledger.job import State
from ledger.postgres import PostgresLog
from ledger.runtime.statements import statement
from ledger_scheduler.changes import candidates, change
from ledger_scheduler.metrics import Meters
from ledger_scheduler.vigil import Vigil

if TYPE_CHECKING:
    from ledger.events import Event
    from ledger.job import JobState
    from ledger.runtime.database import Database
    from ledger_scheduler.due import Wakes

log = structlog.get_logger()

KEPT = timedelta(days=1)
"""How long a silent worker stays on the list of workers."""

_BURY_EVERY = 60.0
_ROUNDING = 0.001
_NOBODY = UUID(int=0)

_WORKERS = statement("ledger_scheduler", "select_silent_workers")
_LEASES = statement("ledger_scheduler", "select_leases")
_BURY = statement("ledger_scheduler", "bury_workers")


class Silent:
    """Releases what silent workers hold; a job that has silenced too many workers is dead-lettered."""

    name = "silent workers"

    def __init__(
        self,
        database: Database,
        waker: Wakes,
        meters: Meters | None = None,
        *,
        timeout: timedelta,
        max_crashes: int,
        batch_size: int,
        vigil: Vigil | None = None,
    ) -> None:
        self._database = database
        self._log = PostgresLog(database)
        self._waker = waker
        self._meters = meters or Meters()
        self._timeout = timeout
        self._max_crashes = max_crashes
        self._batch_size = batch_size
        self._vigil = vigil or Vigil(timeout)
        self._after: dict[str, UUID] = {}
        self._bury_at = 0.0
        self._next_at = inf
        self.released = 0

    def run_once(self) -> bool:
        """Release a page of the leases of each silent worker: short turns keep the vigil."""
        goes_on = [self._release(worker) for worker in self._silent()]
        self._bury()
        return any(goes_on)

    def until_next(self) -> float:
        """Return in how many seconds the next worker may be found silent, as the last turn knew it."""
        return max(self._next_at - time.monotonic(), 0.0) + _ROUNDING

    def _silent(self) -> list[str]:
        rows = candidates(self._database, _WORKERS, {"timeout": self._timeout})
        now, server, soon, *_ = rows[0]
        self._vigil.look(now, server)
        left = self._vigil.seconds_left()
        self._next_at = time.monotonic() + (left if left > 0 else inf if soon is None else soon)
        known = [worker for *_, worker, known in rows if known]
        unknown = {worker for *_, worker, known in rows if worker is not None and not known}
        missed = self._vigil.missed(unknown)
        return sorted({*known, *missed}) if self._vigil.is_long_enough() else []

    def _release(self, worker: str) -> bool:
        """Release the next page; the read model may show a lease long after it has ended, so each is met but once."""
        place = {"worker_id": worker, "after_id": self._after.get(worker, _NOBODY), "limit": self._batch_size}
        page = [job_id for (job_id,) in candidates(self._database, _LEASES, place)]
        changed = change(self._log, page, lambda job: self._rule(job, worker))
        events = changed.events
        for queue in changed.queues:
            self._meters.expired.labels(queue).inc()
        if any(isinstance(event, Enqueued) for event in events):
            self._waker.wake()
        if events:
            self.released += len(events)
            log.warning("worker is silent, its leases are released", worker_id=worker, released=len(events))
        goes_on = len(page) == self._batch_size
        if goes_on:
            self._after[worker] = page[-1]
        else:
            self._after.pop(worker, None)
        return goes_on

    def _rule(self, job: JobState, worker: str) -> tuple[Event, ...]:
        if job.state is not State.RUNNING or job.worker_id != worker:
            return ()
        return commands.crash(job, self._max_crashes)

    def _bury(self) -> None:
        if time.monotonic() < self._bury_at:
            return
        self._bury_at = time.monotonic() + _BURY_EVERY
        with self._database.connection() as connection:
            connection.execute(_BURY, {"kept": max(KEPT, self._timeout)})
