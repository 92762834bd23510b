"""Several schedulers on the same schedules, frozen and killed: each tick makes exactly one job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from ledger.runtime import failpoints
from ledger.runtime.database import Database
from tests.support.ticking import TickStage, make_ticks
from tests.support.working import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger_scheduler.ticks import Ticks

    from ledger.schedule import Schedule
    from tests.support.scheduling import Stage

SCHEDULES = 20
HOUR = timedelta(hours=1)
SCHEDULERS = 3
FAST = {"SCHEDULER_POLL_INTERVAL": "100ms"}


@pytest.fixture
def at(stage: Stage, redis_url: str) -> Iterator[TickStage]:
    at = TickStage(stage, redis_url)
    yield at
    at.close()


@pytest.fixture
def schedulers(database: str) -> Iterator[list[Ticks]]:
    """Each has its own connections, as each is a process of its own."""
    databases = [Database(database, size=2) for _ in range(SCHEDULERS)]
    yield [make_ticks(database) for database in databases]
    for database in databases:
        database.close()


def make_overdue(at: TickStage) -> list[Schedule]:
    """Schedules with ten missed ticks each, all to be caught up."""
    made = [
        at.create(name=f"s{n}", catch_up="all", overlap=("allow", "cancel_previous")[n % 2]) for n in range(SCHEDULES)
    ]
    for schedule in made:
        at.set_back(schedule, 9 * HOUR + timedelta(minutes=1))
    return made


def assert_each_once(at: TickStage, schedules: list[Schedule]) -> None:
    for schedule in schedules:
        first, *_ = fired = at.fired(schedule)
        assert fired == [first + n * HOUR for n in range(10)]
        assert at.schedules.get(schedule.id).next_run_at == first + 10 * HOUR


def test_t5_d19_each_tick_is_one_job_whoever_fires(at: TickStage, schedulers: list[Ticks]) -> None:
    """T5: N schedulers; D19: two of them duplicated jobs."""
    schedules = make_overdue(at)
    start = threading.Barrier(SCHEDULERS)

    def turn(ticks: Ticks) -> None:
        start.wait(60)
        for _ in range(5):
            while ticks.run_once():
                pass

    with ThreadPoolExecutor(SCHEDULERS) as pool:
        for done in [pool.submit(turn, ticks) for ticks in schedulers]:
            done.result(60)
    at.turn()  # what each left to another
    assert_each_once(at, schedules)


@pytest.mark.parametrize("point", ["after_due", "after_advance", "before_tick_commit"])
def test_t5_d34_one_that_is_killed_in_the_middle_leaves_every_tick_to_the_others(
    at: TickStage, database: str, redis_url: str, point: str
) -> None:
    """T5: one killed in the middle of a batch; D34: a single one was a point of failure."""
    schedules = make_overdue(at)
    with started(database, redis_url, LEDGER_FAILPOINTS=point) as victim:
        assert victim.wait(60) == -signal.SIGKILL
    assert [at.fired(schedule) for schedule in schedules] == [[]] * SCHEDULES
    at.turn()
    assert_each_once(at, schedules)


def test_f25_one_that_was_frozen_over_its_decision_changes_nothing_when_it_wakes(
    at: TickStage, schedulers: list[Ticks]
) -> None:
    schedules = make_overdue(at)
    frozen, free, _ = schedulers
    decided, woken = threading.Event(), threading.Event()
    sleeper = threading.Thread(target=frozen.run_once, daemon=True)

    def freeze() -> None:
        if threading.current_thread() is sleeper:
            decided.set()
            assert woken.wait(60)

    with failpoints.armed("after_due", freeze):
        sleeper.start()
        assert decided.wait(60)
        while free.run_once():
            pass
        assert_each_once(at, schedules)
        woken.set()
        sleeper.join(60)
    assert frozen.enqueued == 0
    assert_each_once(at, schedules)


@pytest.mark.heavy
def test_t5_three_processes_of_which_one_is_killed_again_and_again(
    at: TickStage, database: str, redis_url: str
) -> None:
    """T5: every second's tick once, though schedulers die under way."""
    schedule = at.create(cron_expression="* * * * * *", catch_up="all")
    with started(database, redis_url), started(database, redis_url):
        for n in range(1, 4):
            with started(database, redis_url):
                until(lambda n=n: len(at.fired(schedule)) >= 2 * n)
    fired = at.fired(schedule)
    assert fired == [fired[0] + n * timedelta(seconds=1) for n in range(len(fired))]


class started:  # noqa: N801 — reads as a verb
    """A scheduler process, killed at the end."""

    def __init__(self, database: str, redis_url: str, **more: str) -> None:
        environment = os.environ | FAST | {"DATABASE_URL": database, "REDIS_URL": redis_url} | more
        self._process = subprocess.Popen([sys.executable, "-m", "ledger", "scheduler"], env=environment)

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
