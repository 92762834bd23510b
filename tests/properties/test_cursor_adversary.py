"""Each committed event is read exactly once, in its job's order and without delay, whatever the writers do."""

from __future__ import annotations

import pytest
from ledger_projections import cursors

from tests.support.adversary import Plan, Report, attack


def check_it_was_an_attack(report: Report, plan: Plan) -> None:
    """A run in which nothing bad happened proves nothing."""
    done = report.done
    assert done["events"] >= plan.events
    assert done["kills"] == plan.kills
    assert 0.08 < done["rollbacks"] / (done["rollbacks"] + done["commits"]) < 0.25
    assert done["overlaps"] > done["commits"] / 2
    assert done["slow commits"] > 0
    assert done["handed over"] > 0
    assert report.late > 0
    assert report.naively_lost > 0, "a reader that only remembers its position lost nothing: the adversary was too weak"


def check_it_failed(report: Report) -> None:
    assert (report.lost, report.phantom, report.double, report.disordered) == (0, 0, 0, 0)
    assert report.delivered_while_open == report.committed_while_open == report.committed - 1
    assert report.holes_while_open >= 1
    assert report.holes_left == 0


@pytest.mark.parametrize("batch_size", [50, 5000])
def test_adversarial_writers_lose_no_event_and_repeat_none(database, batch_size):
    plan = Plan(events=10_000, writers=8, jobs=(1, 8), kills=1, batch_size=batch_size)

    report = attack(database, plan)

    check_it_was_an_attack(report, plan)
    check_it_failed(report)


def test_the_adversary_finds_a_cursor_that_forgets_its_holes_too_early(database, monkeypatch):
    """The seeded bug: a horizon that every transaction is above, so that a hole lives for two turns only."""
    monkeypatch.setattr(
        cursors, "after", lambda _, cursor, seen: cursor.advance(seen.late, seen.high, seen.gaps, seen.xmin, 0)
    )
    plan = Plan(events=5_000, writers=8, jobs=(1, 8), kills=0, batch_size=5000)

    report = attack(database, plan)

    check_it_was_an_attack(report, plan)
    assert report.lost > 0


@pytest.mark.heavy
def test_adversarial_writers_of_two_hundred_thousand_events(database):
    plan = Plan(events=200_000, writers=12, jobs=(5, 60), kills=3, batch_size=5000)

    report = attack(database, plan)

    check_it_was_an_attack(report, plan)
    check_it_failed(report)
    assert report.committed > 200_000
