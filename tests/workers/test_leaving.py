"""How a worker leaves: what runs is finished or given back, and nothing is left behind."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import redis

from ledger import Job, keys
from ledger.events import Enqueued, Kind, Priority
from tests.support.working import depth, dispatch, ended, kinds, reached, send, until, working

if TYPE_CHECKING:
    import pytest

    from ledger import Ledger


def test_running_jobs_are_finished(ledger: Ledger) -> None:
    began, go = threading.Event(), threading.Event()

    @ledger.job("long")
    def long() -> str:
        began.set()
        go.wait(60)
        return "done"

    with working(ledger) as worker:
        job_id = send(ledger, "long")
        assert began.wait(30)
        leaving = threading.Thread(target=worker.stop, args=(30,))
        leaving.start()
        until(lambda: not any(thread.name.startswith("fetcher") for thread in threading.enumerate()))
        later = send(ledger, "long")
        go.set()
        leaving.join(30)
    assert kinds(ledger, job_id) == [Kind.ENQUEUED, Kind.LEASED, Kind.SUCCEEDED]
    assert kinds(ledger, later) == [Kind.ENQUEUED]
    assert depth(ledger) == 1


def test_t2_d06_what_is_not_finished_in_time_is_released_and_runs_elsewhere(ledger: Ledger) -> None:
    began, stop = threading.Event(), threading.Event()

    @ledger.job("endless")
    def endless(job: Job) -> int:
        if job.attempt == 1:
            began.set()
            job.wait(60)
            stop.set()
        return job.attempt

    with working(ledger, leave=0.1):
        job_id = send(ledger, "endless")
        assert began.wait(30)
    assert stop.wait(30)
    last = ledger.history(job_id)[-1].event
    assert isinstance(last, Enqueued)
    assert last.reason == "shutdown"
    job = ledger.get(job_id)
    assert (job.state, job.retry_count, job.crash_count) == ("ready", 0, 0)
    with working(ledger, "w-2"):
        dispatch(ledger, job_id)
        assert ended(ledger, job_id).result == 2


def test_leased_jobs_that_wait_for_a_thread_are_released_at_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger_workers.slots._AHEAD", 60.0)  # it learns fast, on slow machines too
    go = threading.Event()

    @ledger.job("quick")
    def quick() -> None:
        pass

    @ledger.job("slow")
    def slow() -> None:
        go.wait(60)

    with working(ledger, concurrency=1, leave=30) as worker:
        quick_ones = [send(ledger, "quick") for _ in range(300)]  # teach it to hold more than it has threads
        ended(ledger, quick_ones[-1])
        jobs = [send(ledger, "slow") for _ in range(5)]
        until(lambda: {ledger.get(job_id).state for job_id in jobs} == {"running"})
        leaving = threading.Thread(target=worker.stop, args=(30,))
        leaving.start()
        for job_id in jobs[1:]:
            reached(ledger, job_id, "ready")
        go.set()
        leaving.join(30)
    assert ledger.get(jobs[0]).state == "succeeded"
    assert all(ledger.get(job_id).crash_count == 0 for job_id in jobs)


def test_messages_not_leased_stay_for_others_and_the_consumer_is_gone(ledger: Ledger) -> None:
    with working(ledger):
        for number in range(3):
            send(ledger, f"unknown.{number}")
    assert depth(ledger) == 3
    with redis.Redis.from_url(ledger.redis_url) as client:
        stream = keys.stream("default", Priority.MEDIUM)
        assert client.xpending(stream, keys.GROUP)["pending"] == 0
        assert client.xinfo_consumers(stream, keys.GROUP) == []
