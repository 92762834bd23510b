"""What may be asked of a job: each command looks at the state and returns the events to append, or refuses.

Pure: no clock, no randomness, no I/O of its own. Whoever calls appends the events at the version after the one this
state has; if another writer was faster, read again and ask again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ledger import backoff
from ledger.errors import CommandRefused
from ledger.events import (
    CancelCause,
    Cancelled,
    DeadLettered,
    DeathReason,
    Discarded,
    Enqueued,
    EnqueueReason,
    Event,
    Failed,
    Leased,
    Request,
    Retried,
    Scheduled,
    Succeeded,
)
from ledger.job import State

if TYPE_CHECKING:
    from random import Random

    from ledger.job import JobState

Events = tuple[Event, ...]


def submit(request: Request, now: datetime) -> Events:
    """Open a job: ready at once, or scheduled where its time is still to come."""
    if request.scheduled_at is not None and request.scheduled_at > now:
        return (Scheduled(run_at=request.scheduled_at, request=request),)
    return (Enqueued(request=request),)


def lease(job: JobState, worker_id: str, nonce: str) -> Events:
    _require(job, "lease", State.READY, allowed="only a ready job can be leased")
    return (Leased(worker_id=worker_id, attempt=job.attempt + 1, nonce=nonce, ready_at=job.ready_at),)


def succeed(job: JobState, duration_ms: float, result: bytes | None) -> Events:
    _require_running(job, "succeed")
    return (Succeeded(duration_ms=duration_ms, result=result),)


def fail(
    job: JobState,
    failure: Failed,
    now: datetime,
    random: Random,
    *,
    permanent: bool = False,
    after: timedelta | None = None,
) -> Events:
    """Record a failed run and what follows from it: a retry while the budget lasts, else death.

    `after` is the handler's own wish (`Retry(after=…)`): exactly that long, and it uses one retry like any other. None
    is scheduled for after the job's deadline.
    """
    _require_running(job, "fail")
    if permanent or job.retry_count >= job.request.max_retries:
        return (failure, _death(job, "permanent" if permanent else "retries_exhausted"))
    seconds = (
        backoff.delay(job.request.retry, job.retry_count, job.delay_seconds, random)
        if after is None
        else after.total_seconds()
    )
    run_at = now + timedelta(seconds=seconds)
    if job.request.deadline is not None and run_at >= job.request.deadline:
        return (failure, _death(job, "permanent", "the next retry would have come after the job's deadline"))
    return (failure, Retried(run_at=run_at, delay_seconds=round(seconds, 6), retry_count=job.retry_count + 1))


def snooze(job: JobState, run_at: datetime, reason: str | None = None) -> Events:
    """Put a running job off without using a retry."""
    _require_running(job, "snooze")
    return (Scheduled(run_at=run_at, reason=reason or "snooze"),)


def release(job: JobState, reason: EnqueueReason) -> Events:
    """Give a lease back unused or unfinished: no retry, no crash counted."""
    _require_running(job, "release")
    return (Enqueued(reason=reason),)


def crash(job: JobState, max_crashes: int) -> Events:
    """Release the lease of a worker that died or fell silent; a job that killed `max_crashes` of them is poison."""
    _require_running(job, "release")
    crashes = job.crash_count + 1
    if crashes >= max_crashes:
        return (DeadLettered(reason="poison", retry_count=job.retry_count, crash_count=crashes),)
    return (Enqueued(reason="lease_expired", crash_count=crashes),)


def make_due(job: JobState) -> Events:
    _require(job, "enqueue", State.SCHEDULED, State.RETRYING, allowed="only a scheduled or retrying job becomes due")
    return (Enqueued(reason="due" if job.state is State.SCHEDULED else "retry"),)


def run_now(job: JobState, note: str | None = None) -> Events:
    _require(job, "run", State.SCHEDULED, State.RETRYING, allowed="run-now is for scheduled and retrying jobs")
    return (Enqueued(reason="run_now", note=note),)


def cancel(job: JobState, cause: CancelCause = "requested", reason: str | None = None) -> Events:
    """End a job that has not ended. Of a running one the lease is void from here: its outcome will be refused.

    Cancelling twice is content with the first time and adds nothing.
    """
    if job.state is State.CANCELLED:
        return ()
    _require(
        job,
        "cancel",
        State.SCHEDULED,
        State.READY,
        State.RETRYING,
        State.RUNNING,
        allowed="only a scheduled, ready, retrying or running job can be cancelled",
    )
    return (Cancelled(cause=cause, reason=reason),)


def expire(job: JobState) -> Events:
    """Cancel a job that did not start in time."""
    _require(job, "expire", State.SCHEDULED, State.READY, State.RETRYING, allowed="only a job that waits can expire")
    return (Cancelled(cause="expired"),)


def retry(job: JobState, now: datetime, delay: timedelta | None = None, reason: str | None = None) -> Events:
    """Give a dead job a new budget, by an operator's word: at once, or after `delay`."""
    _require(job, "retry", State.DEAD, allowed="only a dead job can be retried")
    wait = delay or timedelta()
    if job.request.deadline is not None and now + wait >= job.request.deadline:
        raise CommandRefused(job.id, "retry", job.state, job.version, "it would run after its deadline")
    retried = Retried(
        run_at=now + wait,
        delay_seconds=wait.total_seconds(),
        retry_count=0,
        reason=reason,
        requeue_count=job.requeue_count + 1,
    )
    return (retried, Enqueued(reason="retry")) if not wait else (retried,)


def discard(job: JobState, reason: str | None = None) -> Events:
    """Give a dead job up for good; doing it twice adds nothing."""
    if job.state is State.DISCARDED:
        return ()
    _require(job, "discard", State.DEAD, allowed="only a dead job can be discarded")
    return (Discarded(reason=reason),)


def _death(job: JobState, reason: DeathReason, detail: str | None = None) -> DeadLettered:
    return DeadLettered(reason=reason, retry_count=job.retry_count, crash_count=job.crash_count, detail=detail)


def _require(job: JobState, verb: str, *states: State, allowed: str) -> None:
    if job.state not in states:
        raise CommandRefused(job.id, verb, job.state, job.version, allowed)


def _require_running(job: JobState, verb: str) -> None:
    _require(job, verb, State.RUNNING, allowed="only a running job has an outcome")
