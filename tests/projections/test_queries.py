"""The read door: what lists, counts, statistics and lag say of a log whose events are known."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import psycopg
import pytest
from ledger_projections.builtin import PROJECTIONS
from ledger_projections.filters import DeadLetterFilter, ExecutionFilter, JobFilter
from ledger_projections.paging import InvalidCursor
from ledger_projections.queries import Queries
from ledger_projections.queue_stats import bounds_of
from ledger_projections.read_tables import METADATA
from ledger_projections.views import DepthByPriority, QueueInfo, resource

from ledger import ids
from ledger.codec import rfc3339
from ledger.errors import Unavailable
from ledger.events import Priority
from tests.support.lives import fold_all

if TYPE_CHECKING:
    from uuid import UUID


@pytest.fixture
def queries(pool):
    return Queries(pool)


def heartbeat(database: str, worker: str, queues: list[str], age: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "insert into ledger.workers (id, hostname, pid, version, queues, concurrency, heartbeat_at) "
            "values (%s, 'host', 1, '0', %s, 10, clock_timestamp() - %s::interval)",
            [worker, queues, age],
        )


def all_pages(list_, filters, limit):
    found, cursor = [], None
    while True:
        page = list_(filters, limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        found += page.items
        if (cursor := page.next_cursor) is None:
            return found


def test_the_declared_columns_are_those_of_the_read_models(database, pool):
    fold_all(pool)
    with psycopg.connect(database) as connection:
        connection.execute("set search_path = ledger_read")
        for table in METADATA.tables.values():
            made = connection.execute(
                "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0", [table.name]
            )
            declared = {column.name for column in table.columns}
            assert declared <= {name for (name,) in made}, table.name


def test_without_read_models_the_reader_is_told_what_to_start(queries):
    with pytest.raises(Unavailable, match="ledger projector"):
        queries.list_jobs(JobFilter())


def test_pages_of_jobs_hold_each_once_newest_first_and_in_turn_oldest_first(pool, lives, queries):
    made = [lives.enqueue() for _ in range(7)]
    fold_all(pool)
    assert [job.id for job in all_pages(queries.list_jobs, JobFilter(), 3)] == made[::-1]
    assert [job.id for job in all_pages(queries.list_jobs, JobFilter(oldest_first=True), 2)] == made
    assert queries.list_jobs(JobFilter(), limit=7).next_cursor is None


def test_a_listed_job_is_as_the_log_says_up_to_the_version_the_list_knows(pool, lives, queries):
    job_id = lives.enqueue(payload=b'{"n": 1.50}', metadata={"a": "b"})
    lives.lease(job_id)
    fold_all(pool)
    then = lives.job(job_id)
    lives.succeed(job_id, result=b"42")
    (listed,) = queries.list_jobs(JobFilter(), with_payload=True).items
    assert listed == then
    (bare,) = queries.list_jobs(JobFilter()).items
    assert bare.request.payload == b"{}"
    fold_all(pool)
    (now,) = queries.list_jobs(JobFilter()).items
    assert now.result == 42, "a result is shown, a payload only when asked for"


def test_each_filter_of_jobs_narrows_the_list_to_what_it_names(pool, lives, queries):
    schedule = ids.mint()
    a = lives.enqueue("a", queue="mail", priority=Priority.HIGH, correlation_id="order 7")
    b = lives.enqueue("b", queue="web", schedule_id=schedule)
    c = lives.enqueue("c", queue="web", delay=timedelta(hours=1))
    lives.lease(a, "w7")
    fold_all(pool)
    born = lives.job(b).created_at

    def listed(**members) -> set[UUID]:
        found = {job.id for job in queries.list_jobs(JobFilter(**members)).items}
        assert found == {match.job_id for match in queries.matching(JobFilter(**members), 100)}
        assert queries.count(JobFilter(**members)) == len(found)
        return found

    assert listed(ids=(a, c)) == {a, c}
    assert listed(states=("running",)) == {a}
    assert listed(states=("ready", "scheduled")) == {b, c}
    assert listed(types=("a", "b")) == {a, b}
    assert listed(queues=("web",)) == {b, c}
    assert listed(queues=("web",), states=("ready",)) == {b}
    assert listed(priorities=(Priority.HIGH,)) == {a}
    assert listed(priorities=(Priority.HIGH, Priority.MEDIUM)) == {a, b, c}
    assert listed(worker_id="w7") == {a}
    assert listed(correlation_id="order 7") == {a}
    assert listed(schedule_id=schedule) == {b}
    assert listed(created_after=born) == {c}
    assert listed(created_before=born) == {a}
    assert listed(queues=("nobody's %s",)) == set()


def test_a_cursor_is_good_with_its_own_filters_only(pool, lives, queries):
    for _ in range(3):
        lives.enqueue()
    fold_all(pool)
    cursor = queries.list_jobs(JobFilter(), limit=1).next_cursor
    assert cursor is not None
    with pytest.raises(InvalidCursor):
        queries.list_jobs(JobFilter(queues=("mail",)), cursor=cursor)
    with pytest.raises(InvalidCursor):
        queries.list_dead_letters(DeadLetterFilter(), cursor=cursor)
    for garbled in ("", "x", cursor[:-3], "é", cursor + "A" * 9):
        with pytest.raises(InvalidCursor):
            queries.list_jobs(JobFilter(), cursor=garbled)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_of_nothing_is_not_all(queries, limit):
    with pytest.raises(ValueError, match="1 to 1000"):
        queries.list_jobs(JobFilter(), limit=limit)


def test_dead_letters_are_the_dead_with_their_last_failure_and_their_request(pool, lives, queries):
    job_id = lives.enqueue(payload=b'{"to":  "a@b.c"}', metadata={"tenant": "7"}, max_retries=1)
    lives.lease(job_id)
    lives.fail(job_id)
    lives.make_due(job_id)
    lives.lease(job_id)
    lives.fail(job_id)
    fold_all(pool)
    (letter,) = queries.list_dead_letters(DeadLetterFilter()).items
    job = lives.job(job_id)
    assert (letter.id, letter.version) == (f"{job_id}:{job.version}", job.version)
    assert (letter.payload, letter.metadata) == (b'{"to":  "a@b.c"}', {"tenant": "7"})
    assert (letter.reason, letter.attempt, letter.retry_count) == ("retries_exhausted", 2, 1)
    assert (letter.error_type, letter.error_message) == ("ValueError", "no such address")
    assert letter.failed_at == job.completed_at
    shown = resource(letter)
    assert (shown["priority"], shown["failed_at"]) == ("medium", rfc3339(letter.failed_at))
    assert queries.get_dead_letter(str(job_id)) == queries.get_dead_letter(letter.id) == letter


def test_a_dead_letter_id_names_one_death(pool, lives, queries):
    job_id = lives.enqueue()
    lives.die(job_id)
    fold_all(pool)
    earlier = queries.get_dead_letter(str(job_id)).id
    lives.retry(job_id)
    fold_all(pool)
    assert queries.get_dead_letter(earlier) is None
    lives.die(job_id)
    fold_all(pool)
    assert queries.get_dead_letter(earlier) is None
    again = queries.get_dead_letter(str(job_id))
    assert (again.requeue_count, again.requeued_at is not None) == (1, True)
    for nothing in ("", "x", f"{job_id}:x", f"{ids.mint()}"):
        assert queries.get_dead_letter(nothing) is None


def test_dead_letters_page_by_latest_death_by_cursor_and_by_offset(pool, lives, queries):
    made = [lives.enqueue(f"t{n % 2}", queue=f"q{n}") for n in range(5)]
    for job_id in reversed(made):
        lives.die(job_id)
    fold_all(pool)
    assert [letter.job_id for letter in all_pages(queries.list_dead_letters, DeadLetterFilter(), 2)] == made
    offset = queries.list_dead_letters(DeadLetterFilter(), limit=2, offset=3).items
    assert [letter.job_id for letter in offset] == made[3:]

    def listed(**members) -> list[UUID]:
        return [match.job_id for match in queries.matching(DeadLetterFilter(**members), 100)]

    assert listed(types=("t1",)) == [made[1], made[3]]
    assert listed(queues=("q0", "q4")) == [made[0], made[4]]
    assert listed(ids=(made[2],)) == [made[2]]
    assert listed(error_contains="SUCH addr") == made
    assert listed(error_contains="valueerror") == made
    assert listed(error_contains="%") == []
    died = lives.job(made[2]).completed_at
    assert listed(failed_after=died) == made[:2]
    assert listed(failed_before=died) == made[3:]


def test_executions_are_the_attempts_latest_first(pool, lives, queries):
    job_id = lives.enqueue(payload=b'{"n":1}')
    other = lives.enqueue("other")
    lives.lease(job_id)
    lives.fail(job_id)
    lives.run(other)
    lives.make_due(job_id)
    lives.lease(job_id)
    fold_all(pool)
    found = all_pages(queries.list_executions, ExecutionFilter(), 2)
    assert [(run.job_id, run.attempt, run.state) for run in found] == [
        (job_id, 2, "running"),
        (other, 1, "succeeded"),
        (job_id, 1, "failed"),
    ]
    assert [run.state for run in queries.list_executions(ExecutionFilter(job_id=job_id)).items] == ["running", "failed"]
    assert [run.attempt for run in queries.list_executions(ExecutionFilter(states=("failed",))).items] == [1]
    assert found[0].id == f"{job_id}:{lives.job(job_id).version}"
    assert found[0].payload == b'{"n":1}'
    assert all(a.started_at >= b.started_at for a, b in pairwise(found))


def test_queues_are_those_a_job_or_a_live_worker_has_named(database, pool, lives, queries):
    lives.run(lives.enqueue(queue="past"))
    lives.enqueue(queue="later", delay=timedelta(hours=1))
    heartbeat(database, "alive", ["idle"], "1 second")
    heartbeat(database, "silent", ["gone"], "1 minute")
    fold_all(pool)
    infos = {info.name: info for info in queries.queue_infos()}
    assert list(infos) == ["idle", "later", "past"]
    assert infos["idle"] == QueueInfo(name="idle")
    assert infos["later"].scheduled == 1
    assert queries.queue_info("never") == QueueInfo(name="never")
    assert [(worker.id, worker.alive) for worker in queries.list_workers()] == [("alive", True), ("silent", False)]


def test_t10_d22_a_queue_tells_its_counts_and_the_age_of_its_oldest_ready_job(pool, lives, queries):
    running, dead = lives.enqueue(), lives.enqueue()
    lives.lease(running)
    lives.die(dead)
    oldest = lives.enqueue(priority=Priority.LOW)
    lives.enqueue(priority=Priority.CRITICAL)
    fold_all(pool)
    info = queries.queue_info("mail")
    assert (info.depth, info.ready, info.running, info.dead, info.retrying) == (2, 2, 1, 1, 0)
    age = (lives.log.clock.now() - lives.job(oldest).ready_at).total_seconds()
    assert info.oldest_ready_age_seconds == pytest.approx(age, abs=5)
    assert [(each.name, each.depth) for each in queries.queue_infos()] == [("mail", 2)]


def test_queue_stats_say_what_went_through_and_how_long_it_took(pool, lives, queries):
    for duration in (10.0, 10.0, 10.0, 4000.0):
        lives.run(lives.enqueue(), duration)
    failing = lives.enqueue()
    lives.lease(failing)
    lives.fail(failing)
    lives.cancel(failing)
    crashing = lives.enqueue(priority=Priority.HIGH)
    lives.lease(crashing)
    lives.crash(crashing)
    lives.run(lives.enqueue(queue="other"))
    fold_all(pool)
    stats = queries.queue_stats("mail", timedelta(hours=1))
    assert (stats.name, stats.queue, stats.window_seconds) == ("mail", "mail", 3600)
    assert (stats.enqueued, stats.succeeded, stats.failed, stats.retried) == (7, 4, 1, 1)
    assert (stats.cancelled, stats.crashed, stats.dead_lettered) == (1, 1, 0)
    assert stats.throughput_per_second == 4 / 3600
    assert stats.depth_by_priority == DepthByPriority(high=1)
    low, high = bounds_of(0)
    width = high / low - 1
    assert stats.run_seconds.p50 == pytest.approx(0.010, rel=width)
    assert stats.run_seconds.p95 == pytest.approx(4.0, rel=width)
    assert stats.run_seconds.max == 4.0
    assert 0 <= stats.wait_seconds.p50 <= stats.wait_seconds.max
    empty = queries.queue_stats("never")
    assert (empty.enqueued, empty.run_seconds.p50, empty.wait_seconds.max) == (0, None, None)


def test_a_job_that_nobody_correlated_is_correlated_with_itself_and_with_what_followed(pool, lives, queries):
    first = lives.enqueue()
    others = [lives.enqueue(correlation_id=str(first)), lives.enqueue(correlation_id="order-7")]
    fold_all(pool)
    found = {
        value: {job.id for job in queries.list_jobs(JobFilter(correlation_id=value)).items}
        for value in (str(first), str(first).upper(), "order-7", "order-8")
    }
    assert found == {
        str(first): {first, others[0]},
        str(first).upper(): set(),
        "order-7": {others[1]},
        "order-8": set(),
    }


def test_stats_count_the_last_day(pool, lives, queries):
    lives.run(lives.enqueue(), 10.0)
    lives.die(lives.enqueue())
    lives.lease(lives.enqueue())
    lives.enqueue()
    fold_all(pool)
    stats = queries.stats()
    counts = stats.executions_24h
    assert (counts.total, counts.succeeded, counts.completed, counts.dead, counts.running) == (3, 1, 1, 1, 1)
    assert counts.avg_duration_ms == pytest.approx((10.0 + 12.5) / 2)
    assert (stats.dead_letter_count, stats.jobs.ready, stats.jobs.running) == (1, 1, 1)


def test_lag_is_the_age_of_the_oldest_unread_event_and_nothing_when_all_is_read(pool, lives, queries):
    lives.enqueue()
    fold_all(pool)
    names = {projection.name for projection in PROJECTIONS}
    assert {name: queries.lag()[name].events for name in names} == dict.fromkeys(names, 0)
    assert all(queries.lag()[name].seconds == 0 for name in names)
    job_id = lives.enqueue()
    lives.lease(job_id)
    fold_all(pool, PROJECTIONS[:1])
    lag = queries.lag()
    assert (lag["jobs"].events, lag["attempts"].events) == (0, 2)
    assert lag["attempts"].seconds > 0
    assert lag["dispatch"].events == 3, "one that never ran has everything to read"


def test_a_projection_shows_whether_anybody_serves_it(database, pool, lives, queries):
    lives.enqueue()
    fold_all(pool, PROJECTIONS[:1])
    shown = {view.name: view for view in queries.list_projections()}
    assert (shown["jobs"].status, shown["jobs"].position, shown["jobs"].head) == ("live", 1, 1)
    assert shown["dispatch"].status == "stopped"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("insert into ledger.cursors (projection, generation, version) values ('jobs', 'next', 2)")
    assert {view.name: view.status for view in queries.list_projections()}["jobs"] == "building"


def test_t14_d02_random_lives_are_counted_as_they_stand(pool, lives, queries):
    made = [lives.enqueue(queue=f"q{n % 3}", priority=Priority(n % 4)) for n in range(40)]
    for _ in range(8):
        for job_id in made:
            lives.step(job_id)
    fold_all(pool, batch_size=7)
    standing = Counter((job.queue, job.state) for job in map(lives.job, made))
    for info in queries.queue_infos():
        for state in ("scheduled", "ready", "running", "retrying", "dead"):
            assert getattr(info, state) == standing[info.name, state]
    assert {job.id: job for job in all_pages(queries.list_jobs, JobFilter(), 9)}.keys() == set(made)
