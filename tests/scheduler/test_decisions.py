"""Decisions about overdue ticks: pure, so the longest absences are tried here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from ledger_scheduler import decisions
from ledger_scheduler.decisions import decide

from ledger import cron, ids
from ledger.schedule import Schedule

NOW = datetime(2026, 11, 24, 12, 0, 0, 500_000, tzinfo=UTC)
NEWEST = NOW.replace(microsecond=0)
GRACE = timedelta(seconds=5)


def schedule(absence: timedelta, **members) -> Schedule:
    members = {"cron_expression": "* * * * * *", "timezone": "Europe/Berlin"} | members
    return Schedule(
        name="often", job_type="x", max_retries=0, timeout_seconds=1, id=ids.mint(), version=1, origin="api",
        created_at=NEWEST - absence - timedelta(days=365), updated_at=NOW, next_run_at=NEWEST - absence, **members,
    )  # fmt: skip


class Counting:
    """A cron that counts how often it is asked."""

    def __init__(self, inner: cron.Cron) -> None:
        self._inner = inner
        self.asked = 0

    def after(self, *place) -> datetime:
        self.asked += 1
        return self._inner.after(*place)


@pytest.mark.parametrize("catch_up", ["skip", "once"])
@pytest.mark.parametrize("expression", ["* * * * * *", "* * * * *", "@every 1s"])
def test_the_newest_of_a_month_of_ticks_is_found_without_going_through_them(
    catch_up: str, expression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D30: after an outage a thousand such schedules are decided together, and none may wait minutes for the others."""
    counting = Counting(cron.parse(expression))
    monkeypatch.setattr(decisions.cron, "parse", lambda _: counting)
    often = schedule(timedelta(days=30), catch_up=catch_up, cron_expression=expression)
    decision = decide(often, NOW, GRACE, unended=False, most=100)
    assert [NOW - tick < timedelta(seconds=1) for tick in decision.run] == [True]
    assert NOW < decision.next_run_at <= NOW + timedelta(minutes=1)
    assert counting.asked < 300


def test_all_is_a_thousand_in_order_and_nothing_older_than_the_window() -> None:
    kept = schedule(timedelta(days=30), catch_up="all", catch_up_window_seconds=2592000)
    run: list[datetime] = []
    while True:
        decision = decide(kept, NOW, GRACE, unended=False, most=100)
        run += decision.run
        if not decision.goes_on:
            break
        kept = schedule(NEWEST - decision.next_run_at, catch_up="all", catch_up_window_seconds=2592000)
    assert run == [NEWEST - timedelta(seconds=n) for n in reversed(range(1000))]
    short = schedule(timedelta(days=30), catch_up="all", catch_up_window_seconds=3)
    assert decide(short, NOW, GRACE, unended=False, most=100).run == tuple(
        NEWEST - timedelta(seconds=n) for n in (2, 1, 0)
    )


@pytest.mark.parametrize(
    ("catch_up", "late", "runs"),
    [("skip", 4, True), ("skip", 6, False), ("once", 6, True), ("once", 59, True), ("once", 61, False)],
)
def test_a_tick_is_missed_after_a_grace_and_lost_after_the_window(catch_up: str, late: int, runs: bool) -> None:
    one = schedule(timedelta(seconds=late), cron_expression="@every 24h", catch_up=catch_up, catch_up_window_seconds=60)
    assert bool(decide(one, NOW, GRACE, unended=False, most=100).run) is runs
