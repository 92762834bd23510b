"""Expiry: what has not started in time is cancelled; what has is left to finish."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from ledger_scheduler.expiry import Expiry

from ledger.events import Kind, Leased
from ledger.job import State

if TYPE_CHECKING:
    from uuid import UUID

    from tests.support.scheduling import Stage

HOUR = timedelta(hours=1)


@pytest.fixture
def expiry(stage: Stage) -> Expiry:
    return Expiry(stage.database, batch_size=10)


def test_waiting_jobs_are_cancelled_whatever_they_wait_for(stage: Stage, expiry: Expiry) -> None:
    past = stage.log.clock.now() - timedelta(seconds=1)
    ready = stage.enqueue(expires_at=past)
    scheduled = stage.enqueue(delay=HOUR, expires_at=past)
    retrying = stage.enqueue(expires_at=past)
    started(stage, retrying)
    stage.fail(retrying)
    stage.turn(expiry)
    for job in (ready, scheduled, retrying):
        entry = stage.log.history(job)[-1]
        assert (entry.kind, entry.event.cause, entry.actor) == (Kind.CANCELLED, "expired", "scheduler")
    assert expiry.cancelled == 3


def test_a_running_job_is_left_to_finish(stage: Stage, expiry: Expiry) -> None:
    job = stage.enqueue(expires_at=stage.log.clock.now() - timedelta(seconds=1))
    stage.fold()
    started(stage, job)
    assert not expiry.run_once()  # the read model still says: ready
    stage.turn(expiry)
    assert stage.job(job).state is State.RUNNING


def test_nothing_is_cancelled_before_its_time_or_without_one(stage: Stage, expiry: Expiry) -> None:
    jobs = [stage.enqueue(expires_at=stage.log.clock.now() + HOUR), stage.enqueue()]
    stage.turn(expiry)
    assert [stage.job(job).state for job in jobs] == [State.READY] * 2


def test_many_are_cancelled_batch_by_batch(stage: Stage, expiry: Expiry) -> None:
    past = stage.log.clock.now() - timedelta(seconds=1)
    jobs = [stage.enqueue(expires_at=past) for _ in range(25)]
    stage.fold()
    assert [expiry.run_once() for _ in range(3)] == [True, True, False]
    assert {stage.job(job).state for job in jobs} == {State.CANCELLED}


def started(stage: Stage, job: UUID) -> None:
    """Have it leased, as it was before it expired: by now it would be refused."""
    stage.later(job, Leased("w-1", 1, "nonce", stage.log.history(job)[0].at))
