"""The vigil: who has not looked all the time, on a clock that goes right, judges nobody."""

from __future__ import annotations

from datetime import timedelta

import pytest
from ledger_scheduler.vigil import Vigil

from tests.support.histories import NOON

TIMEOUT = timedelta(seconds=30)
STEP = 3


class Watch:
    """A vigil, and the two clocks it looks at."""

    def __init__(self) -> None:
        self.here = 100.0
        self.there = NOON
        self.server = NOON
        self.vigil = Vigil(TIMEOUT, lambda: self.here)

    def pass_time(self, seconds: float, *, step: float = STEP) -> None:
        while seconds > 0:
            self.here += min(step, seconds)
            self.there += timedelta(seconds=min(step, seconds))
            seconds -= step
            self.vigil.look(self.there, self.server)


@pytest.fixture
def watch() -> Watch:
    made = Watch()
    made.vigil.look(made.there, made.server)
    return made


def test_it_is_long_enough_after_one_time_out(watch: Watch) -> None:
    watch.pass_time(27)
    assert not watch.vigil.is_long_enough()
    watch.pass_time(3)
    assert watch.vigil.is_long_enough()


def test_who_never_looked_judges_nobody() -> None:
    assert not Watch().vigil.is_long_enough()


def test_an_outage_begins_it_anew(watch: Watch) -> None:
    watch.pass_time(60)
    watch.pass_time(40, step=40)
    assert not watch.vigil.is_long_enough()
    watch.pass_time(30)
    assert watch.vigil.is_long_enough()


def test_f15_another_server_begins_it_anew_however_soon_it_answers(watch: Watch) -> None:
    watch.pass_time(60)
    watch.server += timedelta(minutes=1)
    watch.pass_time(3)
    assert not watch.vigil.is_long_enough()
    watch.pass_time(30)
    assert watch.vigil.is_long_enough()


def test_a_short_break_does_not(watch: Watch) -> None:
    watch.pass_time(60)
    watch.pass_time(9, step=9)
    assert watch.vigil.is_long_enough()


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_was_set_begins_it_anew(watch: Watch, hours: int) -> None:
    watch.pass_time(60)
    watch.there += timedelta(hours=hours)
    watch.pass_time(3)
    assert not watch.vigil.is_long_enough()


def test_a_worker_without_a_row_must_be_without_one_all_the_time(watch: Watch) -> None:
    watch.pass_time(60)
    assert watch.vigil.missed({"w1", "w2"}) == set()
    watch.pass_time(15)
    assert watch.vigil.missed({"w1"}) == set()
    watch.pass_time(15)
    assert watch.vigil.missed({"w1", "w2"}) == {"w1"}


def test_an_outage_also_forgets_who_was_missing(watch: Watch) -> None:
    watch.pass_time(60)
    watch.vigil.missed({"w1"})
    watch.pass_time(40, step=40)
    assert watch.vigil.missed({"w1"}) == set()
