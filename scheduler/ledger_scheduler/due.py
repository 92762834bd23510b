"""Due jobs: what was scheduled, or waits for its retry, becomes ready when its time has come, and never before.

Postgres' clock decides. Between two looks the loop waits no longer than until the next `run_at`, so a job is enqueued
within milliseconds of its time.
"""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Protocol

from ledger import commands
from ledger.events import Enqueued
from ledger.runtime.statements import statement
from ledger_scheduler.changes import candidates
from ledger_scheduler.harvest import Harvest

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.job import JobState
    from ledger.runtime.database import Database

_SELECT = statement("ledger_scheduler", "select_due")
_NEXT = statement("ledger_scheduler", "select_next_due")

_ROUNDING = 0.001
"""Seconds added to a wait, so that the look is not a moment too early and in vain."""


class Wakes(Protocol):
    def wake(self) -> None:
        """Tell the dispatchers to look; best effort."""
        ...


class Due:
    """Enqueues due jobs; a job that has expired by then is cancelled instead."""

    name = "due"

    def __init__(self, database: Database, waker: Wakes, batch_size: int) -> None:
        self._database = database
        self._waker = waker
        self._harvest = Harvest(database, _SELECT, _rule, batch_size)
        self._next_at = inf
        self._in_sweep = False
        self.enqueued = 0

    def run_once(self) -> bool:
        if not self._in_sweep and not self._look_ahead():
            return False
        events, goes_on = self._harvest.next_batch()
        if enqueued := sum(isinstance(event, Enqueued) for event in events):
            self.enqueued += enqueued
            self._waker.wake()
        self._in_sweep = goes_on
        if not goes_on:
            self._look_ahead()
        return goes_on

    def until_next(self) -> float:
        """Return in how many seconds the next job is due, as the last turn knew it."""
        return max(self._next_at - time.monotonic(), 0.0) + _ROUNDING

    def _look_ahead(self) -> bool:
        """Learn when the next job is due; return whether one is already."""
        ((first, following),) = candidates(self._database, _NEXT, {})
        self._next_at = inf if following is None else time.monotonic() + following
        return first is not None and first <= 0


def _rule(job: JobState, now: datetime) -> commands.Events:
    start_by = job.request.start_by
    if start_by is not None and start_by <= now:
        return commands.expire(job)
    if job.run_at is not None and job.run_at > now:
        return ()  # retried anew since the read model was folded
    return commands.make_due(job)
