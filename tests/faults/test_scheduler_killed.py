"""Schedulers and workers killed between deciding and recording: what was accepted is neither lost nor doubled.

The original moved a job by two writes, a removal and an addition: who died between them lost it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from ledger import ids
from ledger.events import Enqueued, Kind, Priority, Request, Scheduled
from ledger.job import State
from ledger.log import Append
from ledger.runtime.database import Database
from tests.support.scheduling import Stage
from tests.support.working import Pump, kinds, ledger_on, reached, until, worker_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

JOBS = 20
HASTE = {
    "SCHEDULER_POLL_INTERVAL": "100ms",
    "SCHEDULER_STALE_JOB_TIMEOUT": "1s",
    "WORKER_HEARTBEAT_INTERVAL": "300ms",
}


@pytest.fixture
def stage(database: str) -> Iterator[Stage]:
    pool = Database(database)
    yield Stage(pool)
    pool.close()


@contextmanager
def scheduler(stage: Stage, redis_url: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | HASTE | {"DATABASE_URL": stage.database.url, "REDIS_URL": redis_url} | more
    process = subprocess.Popen([sys.executable, "-m", "ledger", "scheduler"], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def killed_over_its_decision(stage: Stage, redis_url: str) -> None:
    with scheduler(stage, redis_url, LEDGER_FAILPOINTS="after_due") as victim:
        assert victim.wait(60) == -signal.SIGKILL


def test_t5_d08_killed_over_due_jobs_it_leaves_each_to_the_next(stage: Stage, redis_url: str) -> None:
    run_at = stage.log.clock.now() - timedelta(seconds=1)
    jobs = [ids.mint() for _ in range(JOBS)]
    event = Scheduled(run_at=run_at, request=Request(type="t", scheduled_at=run_at))
    stage.log.append([
        Append(job_id=job, events=(event,), queue="mail", priority=Priority.MEDIUM, actor="client:test") for job in jobs
    ])  # fmt: skip
    stage.fold()
    killed_over_its_decision(stage, redis_url)
    assert {tuple(stage.kinds(job)) for job in jobs} == {(Kind.SCHEDULED,)}
    with scheduler(stage, redis_url):
        until(lambda: all(stage.job(job).state is State.READY for job in jobs))
    assert {tuple(stage.kinds(job)) for job in jobs} == {(Kind.SCHEDULED, Kind.ENQUEUED)}


@pytest.mark.parametrize("queue", ["mail", "billing-eu.v2"])
def test_t1_d10_d14_killed_over_a_silent_workers_leases_it_leaves_them_to_the_next(
    stage: Stage, redis_url: str, queue: str
) -> None:
    """Reclaiming, too, was two writes; and it knew three names of queues."""
    jobs: list[UUID] = [stage.enqueue(queue=queue) for _ in range(JOBS)]
    for job in jobs:
        stage.lease(job, "who never said a word")
    stage.fold()
    killed_over_its_decision(stage, redis_url)
    assert {stage.job(job).state for job in jobs} == {State.RUNNING}
    with scheduler(stage, redis_url):
        until(lambda: all(stage.job(job).state is State.READY for job in jobs))
    for job in jobs:
        assert stage.kinds(job) == [Kind.ENQUEUED, Kind.LEASED, Kind.ENQUEUED]
        last = stage.log.history(job)[-1].event
        assert isinstance(last, Enqueued)
        assert (last.reason, last.crash_count) == ("lease_expired", 1)


@pytest.mark.parametrize("point", ["after_handler", "before_append", "after_append"])
def test_t1_d09_killed_around_a_failure_the_job_waits_for_its_retry(database: str, redis_url: str, point: str) -> None:
    with ledger_on(database, redis_url) as ledger:
        failing = ledger.enqueue("raises", retry={"base": "1h", "max": "1h"})
        with worker_command(ledger, LEDGER_FAILPOINTS=point) as command:
            Pump(ledger, failing).until("running", "ready", "retrying")
            until(lambda: "worker died" in command.output)
            reached(ledger, failing, "ready", "retrying", seconds=30)
        with worker_command(ledger):
            (job,) = Pump(ledger, failing).until("retrying")
        assert (job.retry_count, job.crash_count) == (1, 0 if point == "after_append" else 1)
        assert kinds(ledger, failing)[-3:] == [Kind.LEASED, Kind.FAILED, Kind.RETRIED]
        assert kinds(ledger, failing).count(Kind.FAILED) == 1
