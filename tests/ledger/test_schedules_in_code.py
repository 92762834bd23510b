"""Schedules defined beside handlers: refused where they are written, and brought into Postgres as they are there."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from ledger import Ledger
from ledger.errors import InvalidRequest
from ledger.schedules import Schedules
from ledger.schedules_in_code import Sync

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKER = "worker:w1"


@pytest.fixture
def release(database: str, redis_url: str) -> Iterator:
    """Makes one release of the application after another, all on one database."""
    made: list[Ledger] = []

    def make() -> Ledger:
        made.append(Ledger(database_url=database, redis_url=redis_url))
        return made[-1]

    yield make
    for each in made:
        each.close()


def bring(ledger: Ledger) -> int:
    done: list[bool] = []
    assert not Sync(ledger, ledger.schedules, WORKER, lambda: done.append(True)).run_once()
    return len(done)


def nightly(ledger: Ledger, expression: str = "0 3 * * *", **options) -> Ledger:
    @ledger.schedule(expression, **options)
    @ledger.job("report.make", queue="slow", priority="low", max_retries=1, timeout=90, retry={"base": 5})
    def make(day: str = "today") -> None: ...

    return ledger


def test_a_handlers_options_are_those_of_its_schedule(release) -> None:
    ledger = nightly(release(), payload={"day": "monday"}, timezone="Europe/Berlin", catch_up="all", overlap="skip",
                     catch_up_window=timedelta(hours=2), metadata={"k": "v"})  # fmt: skip
    assert list(ledger.schedules) == ["report.make"]
    assert bring(ledger) == 1
    kept = Schedules(ledger).get("report.make")
    assert (kept.origin, kept.version, kept.queue, kept.priority.word, kept.max_retries, kept.timeout_seconds) == (
        "code", 1, "slow", "low", 1, 90.0,
    )  # fmt: skip
    assert (kept.payload, kept.timezone, kept.catch_up, kept.catch_up_window_seconds, kept.overlap, kept.metadata) == (
        b'{"day":"monday"}', "Europe/Berlin", "all", 7200.0, "skip", {"k": "v"},
    )  # fmt: skip
    assert kept.retry is not None
    assert (kept.retry.base_seconds, kept.retry.backoff) == (5.0, "exponential")
    assert Schedules(ledger).run_now("report.make").request.retry == kept.retry


def test_the_handler_stays_what_it_was(release) -> None:
    ledger = nightly(release())
    assert ledger.handlers["report.make"]("x") is None


def test_bringing_it_again_changes_nothing(release) -> None:
    bring(nightly(release()))
    bring(nightly(ledger := release()))
    assert Schedules(ledger).get("report.make").version == 1


def test_another_release_changes_what_differs_and_leaves_it_paused(release) -> None:
    bring(nightly(ledger := release()))
    store = Schedules(ledger)
    before = store.pause("report.make")
    bring(nightly(release(), "0 4 * * *", catch_up="skip"))
    after = store.get("report.make")
    assert (after.id, after.cron_expression, after.catch_up, after.is_active) == (before.id, "0 4 * * *", "skip", False)
    assert after.next_run_at is None
    assert store.resume("report.make").next_run_at.hour == 4


def test_one_that_code_no_longer_has_stays_until_somebody_deletes_it(release) -> None:
    bring(nightly(release()))
    bring(ledger := release())
    store = Schedules(ledger)
    assert store.get("report.make").is_active
    assert store.delete("report.make").origin == "code"


def test_one_made_by_hand_is_left_alone_and_that_is_said(release) -> None:
    store = Schedules(ledger := nightly(release()))
    made = store.create({"name": "report.make", "job_type": "other", "cron_expression": "@daily"})
    with capture_logs() as lines:
        bring(ledger)
    assert store.get("report.make") == made
    assert [line["schedule"] for line in lines] == ["report.make"]


def test_several_schedules_may_run_one_handler(release) -> None:
    ledger = release()

    @ledger.schedule("@daily", name="early")
    @ledger.schedule("@hourly", name="often")
    @ledger.job("report.make")
    def make() -> None: ...

    bring(ledger)
    assert [each.name for each in Schedules(ledger).list()] == ["early", "often"]


@pytest.mark.parametrize(
    ("expression", "options", "pointer"),
    [
        ("0 0 30 2 *", {}, "/cron_expression"),
        ("@daily", {"timezone": "Mars/Olympus"}, "/timezone"),
        ("@daily", {"payload": {"colour": "blue"}}, "/payload"),
        ("@daily", {"name": "a b"}, "/name"),
        ("@daily", {"overlap": "sometimes"}, "/overlap"),
    ],
)
def test_d30_what_is_wrong_is_said_where_it_is_written(expression: str, options: dict, pointer: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        nightly(Ledger(), expression, **options)
    assert refused.value.breaches[0].pointer.startswith(pointer)


def test_a_name_is_defined_once_and_only_handlers_are_scheduled() -> None:
    ledger = nightly(Ledger())
    with pytest.raises(ValueError, match="defined already"):
        ledger.schedule("@daily")(ledger.handlers["report.make"])
    with pytest.raises(TypeError, match="on top of"):
        nightly(Ledger()).schedule("@daily")(ledger.handlers["report.make"])
    with pytest.raises(TypeError, match="on top of"):
        ledger.schedule("@daily")(print)
