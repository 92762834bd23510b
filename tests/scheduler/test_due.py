"""Due jobs: ready when their time has come by Postgres' clock, never before, each once, and punctually."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from ledger_scheduler.due import Due

from ledger.errors import Unavailable
from ledger.events import Kind, RetryPolicy
from ledger.ids import mint
from ledger.job import State
from ledger.runtime.service import Loop
from tests.support.servers import connect

if TYPE_CHECKING:
    from uuid import UUID

    from tests.support.scheduling import Stage

HOUR = timedelta(hours=1)
SOON = timedelta(milliseconds=30)
AT_ONCE = timedelta(milliseconds=1)
NO_WAIT = RetryPolicy(base_seconds=0.001, max_seconds=0.001, jitter="none")


@pytest.fixture
def due(stage: Stage) -> Due:
    return Due(stage.database, stage.bell, batch_size=10)


def test_a_scheduled_job_is_enqueued_once_its_time_has_come(stage: Stage, due: Due) -> None:
    job = stage.enqueue(delay=SOON)
    wait_for(due, stage)
    entry = stage.log.history(job)[-1]
    assert (entry.kind, entry.actor, entry.event.reason) == (Kind.ENQUEUED, "scheduler", "due")
    assert stage.bell.rung == 1


def test_d59_never_early(stage: Stage, due: Due) -> None:
    jobs = [stage.enqueue(delay=timedelta(milliseconds=20 * n)) for n in range(1, 6)]
    run_at = {job: stage.job(job).run_at for job in jobs}
    while due.enqueued < len(jobs):
        stage.turn(due)
    assert all(stage.job(job).ready_at >= run_at[job] for job in jobs)


def test_a_retry_is_enqueued_as_one(stage: Stage, due: Due) -> None:
    job = stage.enqueue(retry=NO_WAIT)
    stage.lease(job)
    stage.fail(job)
    wait_for(due, stage)
    assert stage.log.history(job)[-1].event.reason == "retry"
    assert stage.job(job).retry_count == 1


def test_what_is_not_due_is_left_alone(stage: Stage, due: Due) -> None:
    job = stage.enqueue(delay=HOUR)
    stage.turn(due)
    assert stage.kinds(job) == [Kind.SCHEDULED]
    assert due.until_next() == pytest.approx(3600, abs=10)


def test_nothing_to_come_is_no_reason_to_look(due: Due, stage: Stage) -> None:
    stage.turn(due)
    assert due.until_next() == float("inf")


def test_a_full_batch_is_followed_by_the_next(stage: Stage, due: Due) -> None:
    jobs = [stage.enqueue(delay=AT_ONCE) for _ in range(25)]
    pass_time(stage)
    assert [due.run_once() for _ in range(3)] == [True, True, False]
    assert {stage.job(job).state for job in jobs} == {State.READY}


def test_a_read_model_that_lags_causes_no_second_event_and_no_second_look(
    stage: Stage, due: Due, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = stage.enqueue(delay=AT_ONCE)
    wait_for(due, stage)
    read = []
    log = due._harvest._log
    monkeypatch.setattr(log, "histories", lambda ids: read.append(ids) or {})
    for _ in range(3):
        assert not due.run_once()  # the read model still says: scheduled
    assert stage.kinds(job) == [Kind.SCHEDULED, Kind.ENQUEUED]
    assert read == []


def test_f15_what_was_known_of_a_server_is_not_believed_of_its_successor(stage: Stage, due: Due) -> None:
    job = stage.enqueue(delay=AT_ONCE)
    wait_for(due, stage)
    assert not due.run_once()  # the read model still says: scheduled
    stage.forget(job, version=2)  # as a failover does to a standby that lacked the tail
    due._harvest._server = None
    due.run_once()
    assert stage.kinds(job) == [Kind.SCHEDULED, Kind.ENQUEUED]


def test_a_job_that_expired_before_it_was_due_is_cancelled_instead(stage: Stage, due: Due) -> None:
    job = stage.enqueue(delay=SOON, expires_at=stage.log.clock.now() + SOON)
    wait_for(due, stage)
    entry = stage.log.history(job)[-1]
    assert (entry.kind, entry.event.cause) == (Kind.CANCELLED, "expired")
    assert (due.enqueued, stage.bell.rung) == (0, 0)


def test_a_job_cancelled_meanwhile_stays_cancelled(stage: Stage, due: Due) -> None:
    job = stage.enqueue(delay=AT_ONCE)
    stage.fold()
    stage.cancel(job)
    pass_time(stage, fold=False)
    assert not due.run_once()
    assert stage.kinds(job) == [Kind.SCHEDULED, Kind.CANCELLED]


def test_a_job_retried_anew_meanwhile_waits_for_its_new_time(stage: Stage, due: Due) -> None:
    job = stage.enqueue(delay=AT_ONCE)
    stage.fold()
    stage.make_due(job)
    stage.lease(job)
    stage.snooze(job)
    pass_time(stage, fold=False)
    assert not due.run_once()
    assert stage.job(job).state is State.SCHEDULED


def test_a_job_in_somebodys_open_transaction_does_not_hold_up_the_others(stage: Stage, due: Due, database: str) -> None:
    jobs = [stage.enqueue(delay=AT_ONCE) for _ in range(5)]
    pass_time(stage)
    with connect(database) as other, other.transaction(force_rollback=True):
        other.execute(
            "insert into ledger.events (job_id, version, kind, queue, priority, actor)"
            " values (%s, 2, 'cancelled', 'mail', 2, 'client:test')",
            [jobs[2]],
        )
        due.run_once()
        assert [stage.job(job).state for job in jobs].count(State.READY) == 4
    stage.turn(due)
    assert stage.job(jobs[2]).state is State.READY


def test_the_loop_wakes_in_time_though_it_polls_once_a_minute(stage: Stage, due: Due) -> None:
    stop = threading.Event()
    job = stage.enqueue(delay=timedelta(milliseconds=400))
    run_at = stage.job(job).run_at
    stage.fold()
    minute = timedelta(minutes=1)
    loop = Loop(due, stop, shortest=minute, longest=minute, until_next=due.until_next)
    thread = loop.start()
    try:
        assert stage.bell.rings.wait(30)
    finally:
        loop.halt()
        thread.join(30)
    ready_at = stage.job(job).ready_at
    assert run_at <= ready_at < run_at + timedelta(milliseconds=200)


def test_without_a_read_model_it_says_what_to_start(stage: Stage, due: Due) -> None:
    stage.execute("drop table ledger_read.jobs")
    with pytest.raises(Unavailable, match="ledger projector"):
        due.run_once()


def wait_for(due: Due, stage: Stage) -> None:
    """Turn until the only job has been dealt with."""
    deadline = time.monotonic() + 30
    while stage.job(the_only_job(stage)).run_at is not None:
        assert time.monotonic() < deadline
        stage.turn(due)


def the_only_job(stage: Stage) -> UUID:
    with stage.database.connection() as connection:
        ((job_id,),) = connection.execute("select distinct job_id from ledger.events").fetchall()
    return job_id


def pass_time(stage: Stage, *, fold: bool = True) -> None:
    """Let everything the read model knows of become due, by the database's clock."""
    if fold:
        stage.fold()
    is_due = "select bool_and(run_at <= clock_timestamp()) from ledger_read.jobs where run_at is not null"
    deadline = time.monotonic() + 30
    with stage.database.connection() as connection:
        while connection.execute(is_due).fetchone() != (True,):
            assert time.monotonic() < deadline


def test_a_job_that_cannot_be_read_does_not_stand_in_the_way_of_the_others(stage: Stage, due: Due) -> None:
    stage.execute(
        "insert into ledger.events (job_id, version, kind, queue, priority, actor, data)"
        " values (%s, 1, 'scheduled', 'mail', 2, 'stranger', %s)",
        mint(),
        '{"type": "email.send", "run_at": "2026-01-01T00:00:00Z", "max_retries": 3, "metadata": 5}',
    )
    jobs = [stage.enqueue(delay=SOON) for _ in range(3)]
    while due.enqueued < len(jobs):
        stage.turn(due)
    assert {stage.job(job).state for job in jobs} == {State.READY}
