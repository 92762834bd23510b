"""A job never runs past its deadline: not begun after it, cut by it, and not retried beyond it."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from ledger_scheduler.expiry import Expiry

from ledger import CommandRefused, InvalidRequest, Job, Retry
from ledger.events import Cancelled, Kind
from tests.support import worker_app
from tests.support.lives import fold_all
from tests.support.working import dispatch, ended, kinds, send, until, working

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from ledger import Ledger


def within(ledger: Ledger, seconds: float) -> datetime:
    return ledger.now() + timedelta(seconds=seconds)


def test_a_run_is_cut_by_the_deadline_and_fails_for_good(ledger: Ledger) -> None:
    told = threading.Event()
    limits: list[timedelta] = []

    @ledger.job("long")
    def long(job: Job) -> None:
        limits.append(job.timeout)
        if job.wait(60):
            told.set()

    deadline = within(ledger, 1.5)
    with working(ledger):
        job = ended(ledger, send(ledger, "long", deadline=deadline))
        assert told.wait(30)
    assert (job.state, job.death.reason, job.failure.error_type) == ("dead", "permanent", "DeadlineExceeded")
    assert deadline <= job.completed_at < deadline + timedelta(seconds=2)
    # What was left, not the usual 300 s. Clocks are compared by asking, which takes a busy machine its time.
    assert limits[0] < timedelta(seconds=2.5)


def test_the_nearer_of_timeout_and_deadline_cuts(ledger: Ledger) -> None:
    @ledger.job("long")
    def long(job: Job) -> None:
        job.wait(60)

    with working(ledger):
        job = ended(ledger, send(ledger, "long", timeout=0.1, max_retries=0, deadline=within(ledger, 60)))
    assert job.failure.error_type == "JobTimeout"


def test_a_process_is_killed_at_the_deadline(ledger: Ledger, tmp_path: Path) -> None:
    for handler in worker_app.ledger.handlers.values():
        ledger.handlers.add(handler)
    with working(ledger):
        payload = {"path": str(tmp_path / "pid")}
        job = ended(ledger, send(ledger, "process_hangs", payload, timeout=60, deadline=within(ledger, 10)))
    assert (job.failure.error_type, job.death.reason) == ("DeadlineExceeded", "permanent")


def test_a_job_leased_after_its_deadline_is_not_begun(ledger: Ledger) -> None:
    ran: list[int] = []
    ledger.job("late")(lambda: ran.append(1))
    deadline = within(ledger, 0.2)
    job_id = ledger.enqueue("late", deadline=deadline)
    until(lambda: ledger.now() > deadline)
    dispatch(ledger, job_id)
    with working(ledger):
        assert ended(ledger, job_id).state == "cancelled"
    last = ledger.history(job_id)[-1].event
    assert isinstance(last, Cancelled)
    assert (last.cause, ran) == ("expired", [])


def test_no_retry_is_scheduled_past_the_deadline(ledger: Ledger) -> None:
    @ledger.job("fails")
    def fails(after: float) -> None:
        raise Retry("later", after=after)

    with working(ledger):
        soon = send(ledger, "fails", {"after": 10}, deadline=within(ledger, 3600))
        never = send(ledger, "fails", {"after": 7200}, deadline=within(ledger, 3600))
        until(lambda: ledger.get(soon).state == "retrying")
        job = ended(ledger, never)
    assert (job.state, job.death.reason, job.retry_count) == ("dead", "permanent", 0)
    assert job.death.detail == "the next retry would have come after the job's deadline"
    with pytest.raises(CommandRefused, match="after its deadline"):
        ledger.retry(never, delay="2h")
    assert ledger.retry(never).state == "ready"


def test_a_waiting_job_is_cancelled_at_its_deadline_as_at_its_expiry(ledger: Ledger) -> None:
    deadline = within(ledger, 0.3)
    late = [
        ledger.enqueue("any", deadline=deadline, expires_at=within(ledger, 60)),
        ledger.enqueue("any", expires_at=deadline, deadline=within(ledger, 60)),
    ]
    early = ledger.enqueue("any", deadline=within(ledger, 60))
    fold_all(ledger.database)
    expiry = Expiry(ledger.database, 100)
    until(lambda: expiry.run_once() or expiry.cancelled == 2)
    assert ledger.now() >= deadline - timedelta(milliseconds=20)
    for job_id in late:
        assert kinds(ledger, job_id) == [Kind.ENQUEUED, Kind.CANCELLED]
        assert ledger.history(job_id)[-1].event == Cancelled("expired")
    assert ledger.get(early).state == "ready"


def test_a_deadline_that_has_passed_or_comes_before_the_start_is_refused(ledger: Ledger) -> None:
    with pytest.raises(InvalidRequest, match="deadline: must be later"):
        ledger.enqueue("any", deadline=within(ledger, -1))
    with pytest.raises(InvalidRequest, match="deadline: must be later"):
        ledger.enqueue("any", delay="1h", deadline=within(ledger, 60))
