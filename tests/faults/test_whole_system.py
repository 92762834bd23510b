"""API, projector, scheduler and workers as they are started: long jobs, workers killed and told to leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ledger.events import Enqueued, Kind
from tests.support.ring import running
from tests.support.working import kinds, reached, until

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from tests.support.ring import Ring

pytestmark = pytest.mark.heavy

SILENCE = 2.0
"""Seconds after which this system takes a worker for silent."""


def record(ring: Ring, notes: Path, seconds: float, **options: str) -> UUID:
    return ring.ledger.enqueue("record", {"path": str(notes), "seconds": seconds}, **options)


def runs(notes: Path) -> list[str]:
    return notes.read_text().splitlines() if notes.exists() else []


def test_t8_d17_a_job_three_times_longer_than_the_silence_runs_once(
    database: str, redis_url: str, tmp_path: Path
) -> None:
    notes = tmp_path / "runs"
    with running(database, redis_url) as ring:
        ring.start_worker("--processes", "2")
        job = record(ring, notes, 3.5 * SILENCE)
        reached(ring.ledger, job, "succeeded")
        assert kinds(ring.ledger, job) == [Kind.ENQUEUED, Kind.LEASED, Kind.SUCCEEDED]
    assert len(runs(notes)) == 1


def test_t1_d14_d18_a_queue_of_any_name_gets_its_jobs_back_from_a_worker_that_was_killed(
    database: str, redis_url: str, tmp_path: Path
) -> None:
    notes, queue = tmp_path / "runs", "billing-eu.v2"
    with running(database, redis_url) as ring:
        victim = ring.start_worker("--queues", queue)
        job = record(ring, notes, 60, queue=queue)
        until(lambda: runs(notes))
        victim.kill()
        reached(ring.ledger, job, "ready", seconds=30)
        event = ring.ledger.history(job)[-1]
        assert event.actor == "scheduler"
        assert isinstance(event.event, Enqueued)
        assert (event.event.reason, event.event.crash_count) == ("lease_expired", 1)
        ring.start_worker("--queues", queue)
        until(lambda: len(runs(notes)) == 2)
        assert ring.ledger.get(job).attempt == 2


def test_t2_d06_a_worker_told_to_leave_finishes_what_it_runs(database: str, redis_url: str, tmp_path: Path) -> None:
    notes = tmp_path / "runs"
    with running(database, redis_url, WORKER_SHUTDOWN_TIMEOUT="30s") as ring:
        worker = ring.start_worker()
        job = record(ring, notes, 3.5 * SILENCE)
        until(lambda: runs(notes))
        worker.interrupt()
        ring.start_worker()
        assert worker.wait() == 0
        assert ring.ledger.get(job).state == "succeeded"
        assert kinds(ring.ledger, job) == [Kind.ENQUEUED, Kind.LEASED, Kind.SUCCEEDED]
    assert len(runs(notes)) == 1
