"""The lookout: which loops it rouses."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from ledger_scheduler.lookout import Lookout

from ledger.errors import Unavailable
from ledger.runtime.database import Database
from tests.support.ticking import TickStage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.scheduling import Stage

POLL = timedelta(seconds=10)


class Sleeper:
    """What the lookout knows of a loop."""

    def __init__(self) -> None:
        self.roused = False

    def rouse(self) -> None:
        self.roused = True


@pytest.fixture
def at(stage: Stage, redis_url: str) -> Iterator[TickStage]:
    at = TickStage(stage, redis_url)
    yield at
    at.close()


def roused(database: Database) -> set[str]:
    loops = {name: Sleeper() for name in ("due", "ticks", "expiry")}
    assert not Lookout(database, POLL, **loops).run_once()
    return {name for name, loop in loops.items() if loop.roused}


def test_without_anything_to_do_all_sleep(at: TickStage) -> None:
    at.stage.enqueue()
    at.stage.enqueue(delay=timedelta(hours=1))
    at.stage.fold()
    at.create()
    assert roused(at.stage.database) == set()


def test_a_job_that_becomes_due_before_the_next_look_is_seen(stage: Stage) -> None:
    stage.enqueue(delay=timedelta(seconds=8))
    stage.fold()
    assert roused(stage.database) == {"due"}


def test_a_tick_before_the_next_look_is_seen(at: TickStage) -> None:
    at.set_back(at.create(), timedelta(seconds=-8))
    assert roused(at.stage.database) == {"ticks"}


def test_an_expiry_is_seen_once_it_has_come(stage: Stage) -> None:
    now = stage.log.clock.now()
    stage.enqueue(expires_at=now + timedelta(seconds=8))
    stage.fold()
    assert roused(stage.database) == set()
    stage.enqueue(expires_at=now - timedelta(seconds=1))
    stage.fold()
    assert roused(stage.database) == {"expiry"}


def test_without_read_models_it_waits(database: str) -> None:
    pool = Database(database)
    with pytest.raises(Unavailable):
        roused(pool)
    pool.close()
