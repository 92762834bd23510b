"""Several schedulers at once: nobody leads, nobody errors, and everything happens once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from ledger_scheduler.due import Due
from ledger_scheduler.expiry import Expiry

from ledger import ids
from ledger.events import Kind, Priority, Request, Scheduled
from ledger.log import Append
from ledger.runtime import failpoints
from ledger.runtime.database import Database
from tests.support.scheduling import Bell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from tests.support.scheduling import Stage

JOBS = 1000
SCHEDULERS = 3


@pytest.fixture
def databases(database: str) -> Iterator[list[Database]]:
    """Each scheduler has its own connections, as each is a process of its own."""
    made = [Database(database, size=2) for _ in range(SCHEDULERS)]
    yield made
    for each in made:
        each.close()


def test_t5_d19_each_due_job_is_enqueued_exactly_once(stage: Stage, databases: list[Database]) -> None:
    jobs = make_due_jobs(stage)
    services = [Due(database, Bell(), batch_size=100) for database in databases]
    turn_together(services)
    assert {tuple(stage.kinds(job)) for job in jobs} == {(Kind.SCHEDULED, Kind.ENQUEUED)}
    assert sum(service.enqueued for service in services) == JOBS


def test_due_and_expiry_end_a_job_once(stage: Stage, databases: list[Database]) -> None:
    past = stage.log.clock.now() - timedelta(seconds=1)
    jobs = make_due_jobs(stage, expires_at=past)
    turn_together([
        Due(databases[0], Bell(), batch_size=100),
        Expiry(databases[1], batch_size=100),
        Expiry(databases[2], batch_size=70),
    ])  # fmt: skip
    assert {tuple(stage.kinds(job)) for job in jobs} == {(Kind.SCHEDULED, Kind.CANCELLED)}


def test_one_that_was_frozen_over_its_decision_changes_nothing_when_it_wakes(
    stage: Stage, databases: list[Database]
) -> None:
    jobs = make_due_jobs(stage)
    frozen, free = (Due(database, Bell(), batch_size=JOBS + 1) for database in databases[:2])
    decided, woken = threading.Event(), threading.Event()
    sleeper = threading.Thread(target=frozen.run_once, daemon=True)

    def freeze() -> None:
        if threading.current_thread() is sleeper:
            decided.set()
            assert woken.wait(60)

    with failpoints.armed("after_due", freeze):
        sleeper.start()
        assert decided.wait(60)
        assert not free.run_once()
        woken.set()
        sleeper.join(60)
    assert (free.enqueued, frozen.enqueued) == (JOBS, 0)
    assert {tuple(stage.kinds(job)) for job in jobs} == {(Kind.SCHEDULED, Kind.ENQUEUED)}


def make_due_jobs(stage: Stage, **request) -> list[UUID]:
    """Jobs that are due and that the read model knows."""
    made = [ids.mint() for _ in range(JOBS)]
    run_at = stage.log.clock.now() - timedelta(seconds=1)
    event = Scheduled(run_at=run_at, request=Request(type="email.send", scheduled_at=run_at, **request))
    stage.log.append([
        Append(job_id=job, events=(event,), queue="mail", priority=Priority.MEDIUM, actor="client:test") for job in made
    ])  # fmt: skip
    stage.fold()
    return made


def turn_together(services: list[Due | Expiry]) -> None:
    """Turn them in threads until none has anything left to do."""
    start = threading.Barrier(len(services))

    def turn(service: Due | Expiry) -> None:
        start.wait(60)
        while service.run_once():
            pass

    with ThreadPoolExecutor(len(services)) as pool:
        for done in [pool.submit(turn, service) for service in services]:
            done.result(60)
