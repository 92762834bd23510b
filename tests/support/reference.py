"""What the read models must hold: every row folded from the log in plain Python, one event after the other.

Written from the meaning of the columns and `ledger.job.evolve`, so that it shares no thought with the SQL.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ledger_projections.queue_stats import bucket_of

from ledger.events import Cancelled, DeadLettered, Enqueued, Failed, Kind, Leased, Scheduled, Succeeded
from ledger.job import JobState, State, evolve, open_job

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from ledger.events import Entry, Event

Row = dict[str, Any]
Tables = dict[str, list[Row]]

KEYS = {
    "jobs": ("job_id",),
    "job_births": ("job_id",),
    "attempts": ("job_id", "lease_version"),
    "attempt_minutes": ("minute",),
    "dead_letters": ("job_id",),
    "queue_counts": ("queue", "priority", "state"),
    "queue_minutes": ("queue", "minute", "priority"),
    "queue_histograms": ("queue", "minute", "priority", "measure", "bucket"),
}
"""Every table of every read model, with its primary key."""

COUNTED = (State.SCHEDULED, State.READY, State.RUNNING, State.RETRYING, State.DEAD)

RUN_STATES = ("running", "succeeded", "failed", "dead", "snoozed", "released", "crashed", "cancelled")

FLOWS = {
    Kind.ENQUEUED: "enqueued",
    Kind.SUCCEEDED: "succeeded",
    Kind.FAILED: "failed",
    Kind.RETRIED: "retried",
    Kind.DEAD_LETTERED: "dead_lettered",
    Kind.CANCELLED: "cancelled",
}


@dataclass
class Step:
    """One event of a job, and the job on either side of it."""

    entry: Entry
    before: JobState | None
    after: JobState

    @property
    def ends_run(self) -> bool:
        return self.before is not None and self.before.state is State.RUNNING

    @property
    def is_crash(self) -> bool:
        event = self.entry.event
        return self.ends_run and (
            isinstance(event, DeadLettered) or (isinstance(event, Enqueued) and event.crash_count is not None)
        )


@dataclass
class Minute:
    flows: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    runs: list[float] = field(default_factory=list)


def read_models(entries: Iterable[Entry]) -> Tables:
    """Return the rows of every table for exactly these events, each job's from its first one on without a hole."""
    ordered = sorted(entries, key=lambda entry: (entry.job_id, entry.version))
    lives = [list(_life(history)) for _, history in groupby(ordered, key=lambda entry: entry.job_id)]
    jobs = [life[-1].after for life in lives]
    minutes = _minutes(step for life in lives for step in life)
    attempts = [row for life in lives for row in _attempts(life)]
    return {
        table: sorted(rows, key=lambda row: tuple(row[column] for column in KEYS[table]))
        for table, rows in {
            "jobs": [_job(job) for job in jobs],
            "job_births": [_birth(job) for job in jobs],
            "attempts": attempts,
            "attempt_minutes": _attempt_minutes(attempts),
            "dead_letters": [_dead_letter(job) for job in jobs if job.state is State.DEAD],
            "queue_counts": _counts(jobs),
            "queue_minutes": [_minute(*key, minute) for key, minute in minutes.items()],
            "queue_histograms": [row for key, minute in minutes.items() for row in _histogram(*key, minute)],
        }.items()
    }


def _life(history: Iterable[Entry]) -> Iterator[Step]:
    job: JobState | None = None
    for entry in history:
        after = open_job(entry) if job is None else evolve(job, entry)
        yield Step(entry, job, after)
        job = after


def _job(job: JobState) -> Row:
    return {
        "job_id": job.id,
        "type": job.request.type,
        "queue": job.queue,
        "priority": int(job.priority),
        "state": job.state.value,
        "version": job.version,
        "attempt": job.attempt,
        "retry_count": job.retry_count,
        "crash_count": job.crash_count,
        "max_retries": job.request.max_retries,
        "requeue_count": job.requeue_count,
        "requeued_at": job.requeued_at,
        "run_at": job.run_at,
        "expires_at": job.request.start_by,
        "created_at": job.created_at,
        "ready_at": job.ready_at,
        "started_at": job.started_at,
        "completed_at": job.completed_at,
        "updated_at": job.updated_at,
        "worker_id": job.worker_id,
        "correlation_id": job.correlation_id,
        "schedule_id": job.request.schedule_id,
    }


def _birth(job: JobState) -> Row:
    return {
        "job_id": job.id,
        "created_at": job.created_at,
        "type": job.request.type,
        "queue": job.queue,
        "priority": int(job.priority),
        "correlation_id": job.correlation_id,
        "schedule_id": job.request.schedule_id,
    }


def _attempts(life: Iterable[Step]) -> list[Row]:
    rows: list[Row] = []
    for step in life:
        event = step.entry.event
        if isinstance(event, Leased):
            rows.append(_opened(step, event))
        elif step.ends_run:
            rows[-1] |= {"state": _outcome(step), "completed_at": step.entry.at} | _measured(event)
        elif isinstance(event, DeadLettered) and step.before is not None and step.before.state is State.FAILED:
            rows[-1]["state"] = "dead"
    return rows


def _opened(step: Step, event: Leased) -> Row:
    job = step.after
    assert job.ready_at is not None
    return {
        "job_id": job.id,
        "lease_version": job.version,
        "attempt": event.attempt,
        "queue": job.queue,
        "priority": int(job.priority),
        "state": "running",
        "error_type": None,
        "error_message": None,
        "stack_trace": None,
        "worker_id": event.worker_id,
        "created_at": job.ready_at,
        "started_at": step.entry.at,
        "completed_at": None,
        "wait_ms": _wait_ms(job.ready_at, step.entry.at),
        "duration_ms": None,
    }


def _attempt_minutes(attempts: list[Row]) -> list[Row]:
    minutes: dict[datetime, list[Row]] = {}
    for row in attempts:
        minutes.setdefault(row["started_at"].replace(second=0, microsecond=0), []).append(row)
    return [_attempt_minute(minute, rows) for minute, rows in minutes.items()]


def _attempt_minute(minute: datetime, rows: list[Row]) -> Row:
    ended = Counter(row["state"] for row in rows)
    durations = [row["duration_ms"] for row in rows if row["duration_ms"] is not None]
    return {
        "minute": minute,
        **{state: ended[state] for state in RUN_STATES},
        "measured": len(durations),
        "duration_us": sum(round(duration * 1000) for duration in durations),
    }


def _outcome(step: Step) -> str:
    match step.entry.event:
        case Succeeded():
            return "succeeded"
        case Failed():
            return "failed"
        case Scheduled():
            return "snoozed"
        case Cancelled():
            return "cancelled"
        case _:
            return "crashed" if step.is_crash else "released"


def _measured(event: Event) -> Row:
    match event:
        case Succeeded(duration_ms):
            return {"duration_ms": duration_ms}
        case Failed(error_type, error_message, stack_trace, duration_ms):
            return {
                "error_type": error_type,
                "error_message": error_message,
                "stack_trace": stack_trace,
                "duration_ms": duration_ms,
            }
        case _:
            return {}


def _dead_letter(job: JobState) -> Row:
    assert job.death is not None
    return {
        "job_id": job.id,
        "version": job.version,
        "type": job.request.type,
        "queue": job.queue,
        "priority": int(job.priority),
        "reason": job.death.reason,
        "error_type": job.failure and job.failure.error_type,
        "error_message": job.failure and job.failure.error_message,
        "stack_trace": job.failure and job.failure.stack_trace,
        "attempt": job.attempt,
        "retry_count": job.death.retry_count,
        "max_retries": job.request.max_retries,
        "crash_count": job.death.crash_count,
        "original_created_at": job.created_at,
        "failed_at": job.completed_at,
        "requeued_at": job.requeued_at,
        "requeue_count": job.requeue_count,
    }


def _counts(jobs: list[JobState]) -> list[Row]:
    counted = Counter((job.queue, int(job.priority), job.state) for job in jobs)
    return [
        {"queue": queue, "priority": priority, "state": state.value, "count": counted[queue, priority, state]}
        for queue, priority in {(job.queue, int(job.priority)) for job in jobs}
        for state in COUNTED
    ]


def _minutes(steps: Iterable[Step]) -> dict[tuple[str, datetime, int], Minute]:
    minutes: dict[tuple[str, datetime, int], Minute] = {}
    for step in steps:
        entry = step.entry
        if entry.kind in (Kind.SCHEDULED, Kind.DISCARDED):
            continue
        key = (entry.queue, entry.at.replace(second=0, microsecond=0), int(entry.priority))
        minute = minutes.setdefault(key, Minute())
        if entry.kind in FLOWS:
            minute.flows[FLOWS[entry.kind]] += 1
        if step.is_crash:
            minute.flows["crashed"] += 1
        if isinstance(entry.event, Leased) and step.after.ready_at is not None:
            minute.waits.append(_wait_ms(step.after.ready_at, entry.at))
        if isinstance(entry.event, Succeeded | Failed) and entry.event.duration_ms is not None:
            minute.runs.append(entry.event.duration_ms)
    return minutes


def _minute(queue: str, at: datetime, priority: int, minute: Minute) -> Row:
    return {
        "queue": queue,
        "minute": at,
        "priority": priority,
        **{flow: minute.flows[flow] for flow in (*FLOWS.values(), "crashed")},
        "wait_max_ms": max(minute.waits, default=None),
        "run_max_ms": max(minute.runs, default=None),
    }


def _histogram(queue: str, at: datetime, priority: int, minute: Minute) -> Iterator[Row]:
    for measure, durations in (("wait", minute.waits), ("run", minute.runs)):
        for bucket, count in Counter(map(bucket_of, durations)).items():
            yield {
                "queue": queue,
                "minute": at,
                "priority": priority,
                "measure": measure,
                "bucket": bucket,
                "count": count,
            }


def _wait_ms(ready_at: datetime, leased_at: datetime) -> float:
    return max((leased_at - ready_at).total_seconds() * 1000, 0)
