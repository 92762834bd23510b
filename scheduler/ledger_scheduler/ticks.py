"""Ticks of schedules: each makes one job, whoever is first, and however many schedulers there are or die.

A tick's job has an id derived from schedule and tick, and is appended in the transaction that moves the schedule on by
compare-and-set. So either both have happened or neither, and a second scheduler that decides the same finds the
schedule moved on. Postgres' clock says what is due.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from math import inf
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from ledger_projections.reading import reading
from psycopg.errors import CheckViolation, DeadlockDetected, LockNotAvailable

from ledger.runtime.statements import statement
from ledger.schedule import from_row
from ledger_scheduler.decisions import Decision, decide
from ledger_scheduler.firing import Plan, fire
from ledger_scheduler.overlap import unended_jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ledger.events import RetryPolicy
    from ledger.job import JobState
    from ledger.runtime.database import Database
    from ledger.schedule import Schedule
    from ledger_scheduler.due import Wakes
    from ledger_scheduler.metrics import Meters

log = structlog.get_logger()

LEAST_GRACE = timedelta(seconds=5)
"""How late a tick may be without being missed, or two polls where that is more."""

_MOST_RUN = 100
_MOST_BYTES = 8 * 1024 * 1024
"""How many ticks of a schedule a turn runs, and how much payload: a transaction is short."""
_WEEK = timedelta(days=7)
"""The partitions of younger jobs have been made in advance."""
_ROUNDING = 0.001
_START = (datetime(1, 1, 2, tzinfo=UTC), UUID(int=0))

_SELECT = statement("ledger_scheduler", "select_due_schedules")
_NEXT = statement("ledger_scheduler", "select_next_tick")
_ENSURE_PARTITION = statement("ledger_scheduler", "ensure_partition")


class Ticks:
    """Decides the ticks that have come, a page of schedules a turn."""

    name = "ticks"

    def __init__(
        self, database: Database, waker: Wakes, meters: Meters, *, retry: RetryPolicy, poll: timedelta, batch_size: int
    ) -> None:
        self._database = database
        self._waker = waker
        self._meters = meters
        self._retry = retry
        self._grace = max(2 * poll, LEAST_GRACE)
        self._batch_size = batch_size
        self._after: tuple[datetime | None, UUID] = _START
        self._next_at = inf
        self._told: dict[UUID, int] = {}
        """Schedules that could not be read, at which version: said once each."""
        self.enqueued = 0

    def run_once(self) -> bool:
        if self._after == _START and not self._look_ahead():
            return False
        after_at, after_id = self._after
        place = {"after_at": after_at, "after_id": after_id, "limit": self._batch_size}
        with reading(self._database) as connection:
            rows = connection.execute(_SELECT, place, binary=True).fetchall()
        schedules = [from_row(row[:-1]) for row in rows]
        goes_on = len(rows) == self._batch_size
        before = self.enqueued
        for group in _groups(self._plans(schedules, rows[0][-1].astimezone(UTC))) if rows else ():
            self._fire(group)  # while the others are still to be decided: after a long absence that takes its time
            goes_on |= any(plan.decision.goes_on for plan in group)
        if self.enqueued > before:
            self._waker.wake()
        self._after = (schedules[-1].next_run_at, schedules[-1].id) if len(rows) == self._batch_size else _START
        if not goes_on:
            self._look_ahead()
        return goes_on

    def until_next(self) -> float:
        """Return in how many seconds the next tick is, as the last turn knew it."""
        return max(self._next_at - time.monotonic(), 0.0) + _ROUNDING

    def _look_ahead(self) -> bool:
        """Learn when the next tick is; return whether one is due already."""
        with reading(self._database) as connection:
            ((first, following),) = connection.execute(_NEXT).fetchall()
        self._next_at = inf if following is None else time.monotonic() + following
        return first is not None and first <= 0

    def _plans(self, schedules: Sequence[Schedule], now: datetime) -> Iterator[Plan]:
        unended = unended_jobs(self._database, [each for each in schedules if each.overlap != "allow"])
        for schedule in schedules:
            jobs = unended.get(schedule.id, ())
            decision = self._decide(schedule, now, jobs)
            if decision is not None:
                cancel = jobs if schedule.overlap == "cancel_previous" and decision.run else ()
                yield Plan(schedule, decision, tuple(cancel))

    def _decide(self, schedule: Schedule, now: datetime, unended: Sequence[JobState]) -> Decision | None:
        most = max(1, min(_MOST_RUN, _MOST_BYTES // len(schedule.payload)))
        try:
            return decide(schedule, now, self._grace, unended=bool(unended), most=most)
        except (ValueError, OverflowError) as error:
            if self._told.get(schedule.id) != schedule.version:
                self._told[schedule.id] = schedule.version
                log.error("schedule cannot be read, left alone", schedule=schedule.name, error=str(error))  # noqa: TRY400 — the message says it all
            return None

    def _fire(self, plans: Sequence[Plan]) -> None:
        """Fire together; what cannot be done together is done one by one, so that one harms no other."""
        try:
            self._ensure_partitions(plans)
            fired = fire(self._database, plans, self._retry)
        except (LockNotAvailable, DeadlockDetected, CheckViolation) as error:
            if len(plans) > 1:
                for plan in plans:
                    self._fire([plan])
            elif isinstance(error, CheckViolation) and plans[0].decision.run:
                log.error("the log has no place for a tick so old", schedule=plans[0].schedule.name, error=str(error))  # noqa: TRY400 — an old partition was detached, no bug of ours
                self._fire([plans[0].without_jobs()])
            else:
                log.warning("schedule is held by somebody, tried again", schedule=plans[0].schedule.name)
            return
        for plan, delays in fired:
            self.enqueued += len(delays)
            for delay in delays:
                self._meters.delay.observe(delay)
            self._meters.skipped.labels("missed").inc(plan.decision.missed)
            self._meters.skipped.labels("overlap").inc(plan.decision.overlapped)

    def _ensure_partitions(self, plans: Iterable[Plan]) -> None:
        ticks = [tick for plan in plans for tick in plan.decision.run if plan.decision.decided_at - tick > _WEEK]
        if not ticks:
            return
        with reading(self._database) as connection:
            for born in {(tick.isocalendar().year, tick.isocalendar().week): tick for tick in ticks}.values():
                connection.execute(_ENSURE_PARTITION, {"born": born})


def _groups(plans: Iterable[Plan]) -> Iterator[list[Plan]]:
    """Yield the plans by what one transaction may hold."""
    group: list[Plan] = []
    jobs = size = 0
    for plan in plans:
        more = len(plan.decision.run)
        if group and (jobs + more > 2 * _MOST_RUN or size + more * len(plan.schedule.payload) > 2 * _MOST_BYTES):
            yield group
            group, jobs, size = [], 0, 0
        group.append(plan)
        jobs, size = jobs + more, size + more * len(plan.schedule.payload)
    if group:
        yield group
