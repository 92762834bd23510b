"""Ticks of schedules: one job each, on time, by the policies for those that were missed and those that overlap."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from ledger import ids
from ledger.events import Kind
from ledger.job import State
from ledger.runtime import failpoints
from ledger.runtime.service import Loop
from tests.support.servers import connect
from tests.support.ticking import RETRY, TickStage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.scheduling import Stage

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
PATIENCE = 30.0


@pytest.fixture
def at(stage: Stage, redis_url: str) -> Iterator[TickStage]:
    at = TickStage(stage, redis_url)
    yield at
    at.close()


def test_d03_a_tick_becomes_a_job_that_says_where_it_comes_from(at: TickStage) -> None:
    schedule = at.create(
        queue="slow", priority="high", max_retries=1, timeout="9s", metadata={"k": "v"}, payload={"n": 1}
    )
    tick = at.set_back(schedule, SECOND)
    at.turn()
    (entry,) = at.openings(schedule)
    request = entry.event.request
    assert (entry.kind, entry.actor, entry.queue, entry.priority.word) == (Kind.ENQUEUED, "scheduler", "slow", "high")
    assert (entry.job_id, entry.trace.correlation_id) == (ids.derive(schedule.id, tick), str(entry.job_id))
    assert (request.type, request.payload, request.max_retries, request.timeout_seconds, request.metadata) == (
        "report.make", b'{"n":1}', 1, 9.0, {"k": "v"},
    )  # fmt: skip
    assert (request.schedule_id, request.tick_at, request.retry) == (schedule.id, tick, RETRY)
    after = at.schedules.get(schedule.id)
    assert (after.last_run_at, after.last_run_status, after.last_job_id) == (tick, "enqueued", entry.job_id)
    assert after.next_run_at == tick + HOUR
    assert after.version == schedule.version + 1
    assert at.stage.bell.rung == 1


def test_what_is_not_due_and_what_is_paused_does_not_tick(at: TickStage) -> None:
    coming, paused = at.create(), at.create(name="paused")
    at.set_back(paused, SECOND)
    at.schedules.pause("paused")
    at.turn()
    assert (at.fired(coming), at.fired(paused)) == ([], [])
    assert at.ticks.until_next() == pytest.approx(3600, abs=10)


def test_d59_a_tick_fires_within_milliseconds_of_its_time_and_never_early(at: TickStage) -> None:
    schedule = at.create(cron_expression="* * * * * *")
    stop = threading.Event()
    at.ticks.run_once()
    minute = timedelta(minutes=1)
    running = Loop(at.ticks, stop, shortest=minute, longest=minute, until_next=at.ticks.until_next).start()
    try:
        wait_until(lambda: len(at.fired(schedule)) >= 3)
    finally:
        stop.set()
        running.join(PATIENCE)
    delays = [(entry.at - entry.event.request.tick_at).total_seconds() for entry in at.openings(schedule)]
    assert min(delays) >= 0
    assert min(delays) < 0.1
    assert at.registry.get_sample_value("ledger_schedule_fire_delay_seconds_count") == len(delays)


def test_t17_new_changed_and_resumed_schedules_count_from_the_next_poll(at: TickStage) -> None:
    """T17: live pick-up; nobody restarts anything."""
    at.turn()
    schedule = at.create(cron_expression="0 0 1 1 *")
    at.turn()
    changed = at.schedules.update(schedule.id, {"cron_expression": "* * * * * *"})
    pause_until(at, changed.next_run_at)
    at.turn()
    assert changed.next_run_at in at.fired(schedule)
    at.schedules.pause(schedule.id)
    fired = at.fired(schedule)
    resumed = at.schedules.resume(schedule.id)
    pause_until(at, resumed.next_run_at)
    at.turn()
    assert at.fired(schedule)[: len(fired)] == fired
    assert at.fired(schedule)[len(fired)] >= resumed.next_run_at


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("skip", []), ("once", [5]), ("all", [0, 1, 2, 3, 4, 5])],
)
def test_d30_t17_ticks_missed_while_no_scheduler_ran(at: TickStage, policy: str, expected: list[int]) -> None:
    """T17: skip runs none, once the latest, all each in order; D30: they are not lost at a restart."""
    schedule = at.create(catch_up=policy)
    first = at.set_back(schedule, 5 * HOUR + 30 * MINUTE)
    at.turn()
    assert at.fired(schedule) == [first + n * HOUR for n in expected]
    after = at.schedules.get(schedule.id)
    assert after.next_run_at == first + 6 * HOUR
    assert after.last_run_at == first + 5 * HOUR
    assert after.last_run_status == ("enqueued" if expected else "skipped_missed")
    assert at.skipped("missed") == 6 - len(expected)


@pytest.mark.parametrize("policy", ["skip", "once"])
def test_a_newest_tick_that_is_hardly_late_is_not_missed(at: TickStage, policy: str) -> None:
    schedule = at.create(catch_up=policy)
    first = at.set_back(schedule, 2 * HOUR + SECOND)
    at.turn()
    assert at.fired(schedule) == [first + 2 * HOUR]


@pytest.mark.parametrize(("policy", "expected"), [("once", []), ("all", [])])
def test_nothing_older_than_the_window_is_caught_up(at: TickStage, policy: str, expected: list) -> None:
    schedule = at.create(catch_up=policy, catch_up_window_seconds=600)
    at.set_back(schedule, 30 * MINUTE)
    at.turn()
    assert at.fired(schedule) == expected
    assert at.schedules.get(schedule.id).last_run_status == "skipped_missed"


def test_of_very_many_missed_ticks_the_last_thousand_run_in_order(at: TickStage) -> None:
    schedule = at.create(catch_up="all", cron_expression="@every 1m", catch_up_window_seconds=2592000)
    first = at.set_back(schedule, timedelta(days=2) + 30 * SECOND)
    at.turn()
    fired = at.fired(schedule)
    assert fired == [first + n * MINUTE for n in range(2881 - 1000, 2881)]
    positions = [entry.position for entry in at.openings(schedule)]
    assert positions == sorted(positions)


def test_a_tick_of_a_week_that_has_no_partition_is_caught_up_all_the_same(at: TickStage) -> None:
    schedule = at.create(catch_up="all", cron_expression="@every 168h", catch_up_window_seconds=2592000)
    first = at.set_back(schedule, timedelta(days=27))
    at.turn()
    assert at.fired(schedule) == [first + n * timedelta(days=7) for n in range(4)]


def test_a_tick_whose_partition_was_detached_is_passed_over_and_harms_no_other(at: TickStage) -> None:
    old = at.create(catch_up="once", cron_expression="@every 600h", catch_up_window_seconds=2592000)
    at.set_back(old, timedelta(days=20))
    young = at.create(name="young")
    at.set_back(young, SECOND)
    with at.stage.database.connection() as connection:
        connection.execute("select ledger.ensure_partition(now() - interval '20 days')")
        name = connection.execute(
            "select 'ledger.events_' || to_char(now() - interval '20 days', 'IYYY\"w\"IW')"
        ).fetchone()[0]
        connection.execute(f"alter table ledger.events detach partition {name}")
    at.turn()
    assert at.schedules.get(old.id).last_run_status == "skipped_missed"
    assert len(at.fired(young)) == 1


def test_overlap_allow_lets_jobs_run_side_by_side(at: TickStage) -> None:
    schedule = at.create()
    for _ in range(2):
        at.set_back(schedule, SECOND)
        at.turn()
    assert len(at.jobs(schedule)) == 2


@pytest.mark.parametrize("is_folded", [True, False])
def test_overlap_skip_drops_the_tick_while_an_earlier_job_has_not_ended(at: TickStage, is_folded: bool) -> None:
    schedule = at.create(overlap="skip")
    at.set_back(schedule, SECOND)
    at.turn()
    (job,) = at.jobs(schedule)
    if is_folded:
        at.stage.fold()
    at.stage.lease(job)
    tick = at.set_back(schedule, SECOND)
    at.ticks.run_once()
    assert at.jobs(schedule) == [job]
    after = at.schedules.get(schedule.id)
    assert (after.last_run_at, after.last_run_status, after.last_job_id) == (tick, "skipped_overlap", job)
    assert at.skipped("overlap") == 1
    at.stage.succeed(job)
    at.set_back(schedule, SECOND)
    at.turn()
    assert len(at.jobs(schedule)) == 2


def test_overlap_sees_a_job_that_is_not_the_last_one(at: TickStage) -> None:
    schedule = at.create(overlap="skip")
    by_hand = at.schedules.run_now(schedule.id)
    later = at.schedules.run_now(schedule.id)
    at.stage.run(later.id)
    at.set_back(schedule, SECOND)
    at.turn()  # which folds first
    assert at.jobs(schedule) == []
    at.stage.run(by_hand.id)
    at.set_back(schedule, SECOND)
    at.turn()
    assert len(at.jobs(schedule)) == 1


def test_a_dead_job_is_no_overlap(at: TickStage) -> None:
    schedule = at.create(overlap="skip")
    at.set_back(schedule, SECOND)
    at.turn()
    (job,) = at.jobs(schedule)
    at.stage.die(job)
    at.set_back(schedule, SECOND)
    at.turn()
    assert len(at.jobs(schedule)) == 2


def test_overlap_cancel_previous_cancels_what_runs(at: TickStage) -> None:
    schedule = at.create(overlap="cancel_previous")
    at.set_back(schedule, SECOND)
    at.turn()
    (first,) = at.jobs(schedule)
    at.stage.lease(first)
    at.set_back(schedule, timedelta(milliseconds=500))
    at.turn()
    ended = at.stage.log.history(first)[-1]
    assert (ended.kind, ended.event.cause, ended.actor) == (Kind.CANCELLED, "overlap", "scheduler")
    (second,) = set(at.jobs(schedule)) - {first}
    assert at.stage.job(second).state is State.READY


def test_catching_up_all_with_an_overlap_policy_leaves_one_job(at: TickStage) -> None:
    skipping = at.create(catch_up="all", overlap="skip")
    first = at.set_back(skipping, 3 * HOUR + 30 * MINUTE)
    cancelling = at.create(name="cancelling", catch_up="all", overlap="cancel_previous")
    at.set_back(cancelling, 3 * HOUR + 30 * MINUTE)
    at.turn()
    assert at.fired(skipping) == [first]
    assert at.schedules.get(skipping.id).last_run_status == "skipped_overlap"
    states = [at.stage.job(job).state for job in at.jobs(cancelling)]
    assert states == [State.CANCELLED] * 3 + [State.READY]


def test_d30_a_schedule_that_cannot_be_read_is_told_once_and_harms_no_other(at: TickStage, caplog, capfd) -> None:
    broken = [at.create(name=f"broken-{n}") for n in range(12)]  # more than a page
    for each in broken:
        at.set_back(each, HOUR)
    at.stage.execute("update ledger.schedules set timezone = 'Mars/Olympus'")
    good = at.create(name="good")
    at.set_back(good, SECOND)
    at.turn()
    at.turn()
    assert len(at.fired(good)) == 1
    assert [at.fired(each) for each in broken] == [[]] * 12
    assert set(at.ticks._told) == {each.id for each in broken}


def test_a_schedule_changed_at_this_very_moment_is_decided_anew(at: TickStage, monkeypatch) -> None:
    schedule = at.create()
    at.set_back(schedule, SECOND)
    with failpoints.armed("after_due", lambda: at.schedules.pause(schedule.id)):
        at.ticks.run_once()
    assert at.jobs(schedule) == []
    assert at.schedules.get(schedule.id).next_run_at is None


def test_a_schedule_in_somebodys_hands_does_not_hold_up_the_others(at: TickStage) -> None:
    held, free = at.create(), at.create(name="free")
    for each in (held, free):
        at.set_back(each, SECOND)
    with connect(at.stage.database.url) as other, other.transaction():
        other.execute("select from ledger.schedules where id = %s for update", [held.id])
        at.ticks.run_once()
        assert (len(at.jobs(held)), len(at.jobs(free))) == (0, 1)
    at.turn()
    assert len(at.jobs(held)) == 1


def test_a_job_in_an_open_transaction_delays_its_own_schedule_only(at: TickStage) -> None:
    held, free = at.create(overlap="cancel_previous"), at.create(name="free")
    at.set_back(held, SECOND)
    at.turn()
    (job,) = at.jobs(held)
    for each in (held, free):
        at.set_back(each, timedelta(milliseconds=500))
    with connect(at.stage.database.url) as other, other.transaction(force_rollback=True):
        other.execute(
            "insert into ledger.events (job_id, version, kind, queue, priority, actor)"
            " values (%s, 2, 'cancelled', 'mail', 2, 'client:test')",
            [job],
        )
        at.ticks.run_once()
        assert (len(at.jobs(held)), len(at.jobs(free))) == (1, 1)
    at.turn()
    assert len(at.jobs(held)) == 2


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def pause_until(at: TickStage, instant) -> None:
    wait_until(lambda: at.stage.log.clock.now() > instant + timedelta(milliseconds=20))
