"""Firing: the jobs of the ticks that were decided, and their schedules moved on, in one transaction."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import orjson

from ledger import commands, ids
from ledger.codec import rfc3339
from ledger.connections import joined
from ledger.errors import Unavailable
from ledger.events import Cancelled, Enqueued, Event, Trace
from ledger.job import fold
from ledger.log import Append, Recorded, following
from ledger.postgres import append_on, histories_on
from ledger.runtime import failpoints
from ledger.runtime.statements import statement
from ledger_scheduler.changes import ACTOR
from ledger_scheduler.overlap import has_ended

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ledger.events import RetryPolicy
    from ledger.job import JobState
    from ledger.runtime.database import Database
    from ledger.runtime.statements import Executes
    from ledger.schedule import Schedule
    from ledger_scheduler.decisions import Decision

LOCK_WAIT = timedelta(milliseconds=250)
"""For a job to be cancelled that somebody's open transaction is changing."""

_TRIES = 5
_ADVANCE = statement("ledger_scheduler", "advance_schedules")


class Plan(NamedTuple):
    """A schedule as it was read, what was decided about its ticks, and the jobs that are to make way."""

    schedule: Schedule
    decision: Decision
    cancel: tuple[JobState, ...] = ()

    def without_jobs(self) -> Plan:
        """Return the plan that passes over the same ticks as missed."""
        decision = msgspec.structs.replace(
            self.decision, run=(), missed=self.decision.missed + len(self.decision.run), status="skipped_missed"
        )
        return Plan(self.schedule, decision)


def fire(database: Database, plans: Sequence[Plan], retry: RetryPolicy) -> list[tuple[Plan, list[float]]]:
    """Carry out those plans whose schedules still are as they were read; return them, with the seconds from each tick
    to its job.

    Raises LockNotAvailable, DeadlockDetected or CheckViolation (no partition so old), and then nothing has happened.
    """
    failpoints.hit("after_due")
    with joined(database, None, LOCK_WAIT) as connection:
        rows = orjson.dumps([_row(plan) for plan in plans]).decode()
        moved = {row[0] for row in connection.execute(_ADVANCE, {"rows": rows}, binary=True).fetchall()}
        won = [plan for plan in plans if plan.schedule.id in moved]
        failpoints.hit("after_advance")
        _cancel(connection, [job for plan in won for job in plan.cancel])
        fired = _append(connection, won, retry)
        failpoints.hit("before_tick_commit")
    return fired


def _append(connection: Executes, plans: Sequence[Plan], retry: RetryPolicy) -> list[tuple[Plan, list[float]]]:
    openings = [(plan, tick, append) for plan in plans for tick, append in _openings(plan, retry)]
    outcomes = append_on(connection, [append for *_, append in openings])
    delays: dict[int, list[float]] = {id(plan): [] for plan in plans}
    for (plan, tick, _), outcome in zip(openings, outcomes, strict=True):
        if isinstance(outcome, Recorded):  # else this very tick has its job already
            delays[id(plan)].append((outcome.at - tick).total_seconds())
    return [(plan, delays[id(plan)]) for plan in plans]


def _openings(plan: Plan, retry: RetryPolicy) -> Iterator[tuple[Any, Append]]:
    schedule, run = plan.schedule, plan.decision.run
    for tick in run:
        job_id = ids.derive(schedule.id, tick)
        events: tuple[Event, ...] = (Enqueued(request=schedule.request(retry, tick)),)
        if schedule.overlap == "cancel_previous" and tick != run[-1]:
            events += (Cancelled(cause="overlap"),)  # caught up, and overtaken at once
        yield (
            tick,
            Append(
                job_id=job_id,
                events=events,
                queue=schedule.queue,
                priority=schedule.priority,
                actor=ACTOR,
                trace=Trace(correlation_id=str(job_id)),
            ),
        )


def _cancel(connection: Executes, jobs: list[JobState]) -> None:
    """Cancel what has not ended; one that moves on meanwhile is looked at again."""
    for _ in range(_TRIES):
        if not jobs:
            return
        appends = [following(job, commands.cancel(job, cause="overlap"), ACTOR) for job in jobs]
        outcomes = append_on(connection, appends)
        lost = [outcome.job_id for outcome in outcomes if not isinstance(outcome, Recorded)]
        read = [fold(history) for history in histories_on(connection, lost).values()] if lost else []
        jobs = [job for job in read if job is not None and not has_ended(job)]
    raise Unavailable(f"job {jobs[0].id} changes faster than it can be cancelled")


def _row(plan: Plan) -> dict[str, Any]:
    decision = plan.decision
    return {
        "id": plan.schedule.id,
        "version": plan.schedule.version,
        "last_run_at": rfc3339(decision.last_run_at),
        "last_run_status": decision.status,
        "last_job_id": ids.derive(plan.schedule.id, decision.run[-1]) if decision.run else None,
        "next_run_at": rfc3339(decision.next_run_at),
    }
