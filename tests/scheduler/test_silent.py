"""Silent workers: their leases are released and counted as crashes; no others are, whatever happened to Postgres."""

from __future__ import annotations

from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING

import pytest
from ledger_scheduler.silent import Silent
from ledger_scheduler.vigil import Vigil

from ledger.events import Kind, Succeeded
from ledger.job import State
from ledger.log import Conflict
from tests.support.histories import following

if TYPE_CHECKING:
    from tests.support.scheduling import Stage

TIMEOUT = timedelta(seconds=30)


class Watch:
    """The service with a steady clock that is moved by hand. What is skipped here, the database does not notice."""

    def __init__(self, stage: Stage, **options) -> None:
        self.stage = stage
        self.here = 0.0
        vigil = Vigil(TIMEOUT, lambda: self.here)
        options = {"max_crashes": 3, "batch_size": 10} | options
        self.silent = Silent(stage.database, stage.bell, timeout=TIMEOUT, vigil=vigil, **options)
        stage.turn(self.silent)

    def keep(self, seconds: float = 33) -> None:
        """Look regularly for so long."""
        for _ in range(int(seconds // 3)):
            self.here += 3
            self.stage.turn(self.silent)


def beat(stage: Stage, worker: str, age: timedelta = timedelta()) -> None:
    stage.execute(
        "insert into ledger.workers (id, hostname, pid, version, queues, concurrency, heartbeat_at)"
        " values (%s, 'here', 1, '1', '{mail}', 10, clock_timestamp() - %s)"
        " on conflict (id) do update set heartbeat_at = excluded.heartbeat_at",
        worker,
        age,
    )


def workers(stage: Stage) -> set[str]:
    with stage.database.connection() as connection:
        return {name for (name,) in connection.execute("select id from ledger.workers")}


@pytest.fixture
def watch(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Watch:
    made = Watch(stage)
    # The steady clock jumps in these tests and the database's does not: only breaks in looking count.
    monkeypatch.setattr(
        Vigil, "_interrupted", lambda self, here, _: here - self._last[0] > self._timeout / 3, raising=True
    )
    return made


def test_t1_d18_leases_of_a_silent_worker_are_released_and_counted(stage: Stage, watch: Watch) -> None:
    job = stage.enqueue()
    stage.lease(job, "w1")
    beat(stage, "w1", TIMEOUT * 2)
    watch.keep()
    entry = stage.log.history(job)[-1]
    assert (entry.kind, entry.actor, entry.event.reason, entry.event.crash_count) == (
        Kind.ENQUEUED, "scheduler", "lease_expired", 1,
    )  # fmt: skip
    assert stage.job(job).retry_count == 0
    assert (watch.silent.released, stage.bell.rung) == (1, 1)


def test_t6_d17_the_outcome_of_a_worker_that_wakes_up_late_is_refused(stage: Stage, watch: Watch) -> None:
    job = stage.enqueue()
    stage.lease(job, "w1")
    seen = stage.log.history(job)
    nonce = stage.job(job).nonce
    beat(stage, "w1", TIMEOUT * 2)
    watch.keep()
    (outcome,) = stage.log.append([following(seen, Succeeded(1.0), nonce=nonce)])
    assert isinstance(outcome, Conflict)


def test_t8_d17_a_worker_that_beats_keeps_its_leases_however_long_they_last(stage: Stage, watch: Watch) -> None:
    job = stage.enqueue()
    stage.lease(job, "w1")
    for _ in range(4):
        beat(stage, "w1")
        watch.keep(30)
    assert stage.job(job).state is State.RUNNING


def test_only_the_silent_ones_lose_theirs(stage: Stage, watch: Watch) -> None:
    held, lost = [stage.enqueue(queue=queue) for queue in ("a", "b")]
    stage.lease(held, "w1")
    stage.lease(lost, "w2")
    beat(stage, "w1")
    beat(stage, "w2", TIMEOUT * 2)
    watch.keep()
    assert (stage.job(held).state, stage.job(lost).state) == (State.RUNNING, State.READY)


def test_it_looks_again_at_the_moment_when_the_next_may_have_fallen_silent(stage: Stage, watch: Watch) -> None:
    assert watch.silent.until_next() == pytest.approx(TIMEOUT.total_seconds(), abs=1), "the end of the vigil"
    watch.keep()
    assert watch.silent.until_next() == inf
    for worker, age in ("w1", 20), ("w2", 5):
        stage.lease(stage.enqueue(), worker)
        beat(stage, worker, timedelta(seconds=age))
    beat(stage, "without leases", timedelta(seconds=29))
    watch.keep(3)
    assert 0 < watch.silent.until_next() <= 10.1
    beat(stage, "w1")
    watch.keep(3)
    assert 10.1 < watch.silent.until_next() <= 25.1


def test_a_job_that_silences_its_workers_again_and_again_is_dead_lettered(stage: Stage, watch: Watch) -> None:
    job = stage.enqueue()
    for n in range(3):
        stage.lease(job, f"w{n}")
        beat(stage, f"w{n}", TIMEOUT * 2)
        watch.keep()
    dead = stage.log.history(job)[-1]
    assert (dead.kind, dead.event.reason, dead.event.crash_count) == (Kind.DEAD_LETTERED, "poison", 3)


def test_nobody_is_judged_before_a_vigil_of_the_same_length(stage: Stage, watch: Watch) -> None:
    job = stage.enqueue()
    stage.lease(job, "w1")
    beat(stage, "w1", TIMEOUT * 2)
    watch.keep(27)
    assert stage.job(job).state is State.RUNNING
    watch.keep(3)
    assert stage.job(job).state is State.READY


def test_after_an_outage_everybody_has_a_whole_time_out_to_be_heard_again(stage: Stage, watch: Watch) -> None:
    job = stage.enqueue()
    stage.lease(job, "w1")
    beat(stage, "w1")
    watch.keep()
    beat(stage, "w1", TIMEOUT * 2)  # for that long Postgres was away, and nobody could beat
    watch.here += 60
    stage.turn(watch.silent)
    watch.keep(27)
    assert stage.job(job).state is State.RUNNING
    beat(stage, "w1")
    watch.keep(60)
    assert stage.job(job).state is State.RUNNING


def test_a_worker_without_a_row_is_waited_for_as_long(stage: Stage, watch: Watch) -> None:
    watch.keep(60)
    job = stage.enqueue()
    stage.lease(job, "w1")
    watch.keep(30)
    assert stage.job(job).state is State.RUNNING
    watch.keep(6)
    assert stage.job(job).state is State.READY


def test_rows_that_come_late_save_their_workers(stage: Stage, watch: Watch) -> None:
    watch.keep(60)
    job = stage.enqueue()
    stage.lease(job, "w1")
    watch.keep(27)
    beat(stage, "w1")
    watch.keep(60)
    assert stage.job(job).state is State.RUNNING


def test_a_read_model_that_lags_costs_nobody_a_lease(stage: Stage, watch: Watch) -> None:
    """The row says that the silent worker runs it; the log says that another does."""
    watch.keep(60)
    job = stage.enqueue()
    stage.lease(job, "w1")
    stage.fold()
    beat(stage, "w1", TIMEOUT * 2)
    beat(stage, "w2")
    stage.crash(job)
    stage.lease(job, "w2")
    assert not watch.silent.run_once()
    assert stage.job(job).worker_id == "w2"


def test_many_leases_are_released_page_by_page(stage: Stage, watch: Watch) -> None:
    watch.keep(60)
    jobs = [stage.enqueue() for _ in range(25)]
    for job in jobs:
        stage.lease(job, "w1")
    stage.fold()
    beat(stage, "w1", TIMEOUT * 2)
    assert [watch.silent.run_once() for _ in range(3)] == [True, True, False]
    assert {stage.job(job).state for job in jobs} == {State.READY}


def test_the_dead_are_shown_for_a_day_and_removed_when_they_hold_nothing(
    stage: Stage, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger_scheduler.silent._BURY_EVERY", 0.0)
    watch = Watch(stage)
    held = stage.enqueue()
    stage.lease(held, "w1")
    day = timedelta(days=1, minutes=1)
    for worker, age in (("w1", day), ("w2", day), ("w3", TIMEOUT * 2)):
        beat(stage, worker, age)
    stage.turn(watch.silent)
    assert workers(stage) == {"w1", "w3"}
    watch.keep(36)
    assert workers(stage) == {"w3"}
