"""Retention: weeks whose jobs have ended leave the log with all that is held of them; what is left still adds up."""

from __future__ import annotations

import gzip
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from ledger_projections.builtin import PROJECTIONS
from ledger_projections.rebuild import rebuild
from ledger_projections.verify import verify
from ledger_scheduler.metrics import Meters
from ledger_scheduler.partitions import Partitions
from ledger_scheduler.retention import Retention
from ledger_scheduler.scheduler import Scheduler
from psycopg import sql

from ledger import ids
from ledger.events import Succeeded
from ledger.log import following
from ledger.runtime import failpoints
from ledger.runtime.database import Database
from ledger.settings import from_env
from tests.support.api_process import until
from tests.support.histories import first
from tests.support.lives import Lives, fold_all
from tests.support.services import service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from uuid import UUID

DAY = timedelta(hours=24)
HOLDERS = ("ledger.events", "ledger_read.jobs", "ledger_read.attempts", "ledger.notes", "ledger.idempotency_keys")


class Past(Lives):
    """Lives that were lived weeks ago: the ids are as old, and so are the events, as far as anybody can see."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.database = database
        self.meters = Meters()

    def born(self, weeks: float, *, queue: str = "mail") -> UUID:
        """Enqueue a job so many weeks ago."""
        at = self.log.clock.now() - timedelta(weeks=weeks)
        self.execute("select ledger.ensure_partition(%s)", at)
        job_id = ids.derive(ids.mint(), at)
        self._append(first(job_id, queue=queue))
        return job_id

    def ended(self, weeks: float, **options: str) -> UUID:
        job_id = self.born(weeks, **options)
        self.run(job_id)
        return job_id

    def age(self, weeks: float) -> None:
        """Make every event so far as old; only an owner who turns the triggers off can."""
        with self.database.connection() as connection, connection.transaction():
            connection.execute("set local session_replication_role = replica")
            connection.execute("update ledger.events set at = at - make_interval(secs => %s)", [weeks * 604800])

    def execute(self, statement: str, *parameters: object) -> list[tuple]:
        with self.database.connection() as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def partitions(self) -> set[str]:
        return {name for (name,) in self.execute("select partition from ledger.partition_bounds()")}

    def partition_of(self, job_id: UUID) -> str:
        [(name,)] = self.execute(
            "select distinct tableoid::regclass::text from ledger.events where job_id = %s", job_id
        )
        return name.removeprefix("ledger.")

    def retire(self, **options: object) -> Retention:
        """Fold what there is, and let every week leave that may."""
        fold_all(self.database)
        retention = Retention(self.database, DAY, self.meters, **options)
        for _ in range(20):
            if not retention.run_once():
                return retention
        raise AssertionError("still busy")

    def has(self, job_id: UUID) -> bool:
        return bool(self.log.history(job_id))

    def rows(self, job_id: UUID) -> int:
        """How many rows anything holds of this job."""
        return sum(len(self.execute(f"select 1 from {table} where job_id = %s", job_id)) for table in HOLDERS)

    def pinned_age(self) -> float:
        (sample,) = next(iter(self.meters.oldest_pinned.collect())).samples
        return sample.value


@pytest.fixture
def past(database: str) -> Iterator[Past]:
    pool = Database(database)
    yield Past(pool)
    pool.close()


def differences(past: Past) -> list[str]:
    """What `ledger verify` and a rebuild find that does not agree with what is live."""
    found = [
        f"{check.name}: {each}" for check in verify(past.database, None, max_crashes=3) for each in check.differences
    ]
    for rebuilt in rebuild(past.database, PROJECTIONS):
        assert rebuilt.comparison is not None
        if rebuilt.comparison.differing:
            found.append(f"rebuild {rebuilt.projection}: {rebuilt.comparison.differing}")
    return found


def test_d32_a_week_whose_jobs_have_ended_leaves_with_all_that_is_held_of_them(past: Past) -> None:
    old, recent = past.ended(5), past.ended(0)
    past.age(3)
    past.execute("insert into ledger.notes (job_id, lease_version, number, message) values (%s, 2, 1, 'half')", old)
    past.execute("insert into ledger.idempotency_keys (key, job_id, fingerprint) values ('k', %s, '')", old)
    week = past.partition_of(old)

    past.retire()

    assert week not in past.partitions()
    assert past.rows(old) == 0
    assert past.rows(recent) == 5
    [(partition, jobs, events, dropped)] = past.execute(
        "select partition, jobs, events, dropped_at is not null from ledger.retirements"
    )
    assert (partition, jobs, events, dropped) == (week, 1, 3, True)
    assert past.execute("select to_regclass('ledger.retired')") == [(None,)]


def test_what_is_left_equals_its_rebuild_and_verify_finds_nothing(past: Past) -> None:
    """T19: the log and its read models stay bounded, and go on agreeing."""
    for weeks in (6, 5.5, 4, 3):
        past.ended(weeks)
        past.ended(weeks, queue="gone")
    past.born(4)  # pins its week, whose minutes others share
    past.die(past.born(6.5))
    for _ in range(3):
        past.ended(0)
    past.age(2.5)
    fold_all(past.database)
    assert differences(past) == []

    past.retire()

    past.ended(0)
    fold_all(past.database)
    assert differences(past) == []
    assert past.execute("select count(*) from ledger.retirements where dropped_at is not null") >= [(2,)]
    counted = past.execute("select min(minute) >= ledger.counted_from() from ledger_read.queue_minutes")
    assert counted == [(True,)]


def test_a_queue_of_which_no_job_is_left_is_forgotten_as_a_rebuild_would(past: Past) -> None:
    past.ended(5, queue="gone")
    past.ended(0)
    past.age(3)
    past.retire()
    assert past.execute("select distinct queue from ledger_read.queue_counts") == [("mail",)]
    assert differences(past) == []


@pytest.mark.parametrize("state", ["scheduled", "ready", "running", "retrying", "dead"])
def test_a_job_that_has_not_ended_pins_its_week_and_is_shown(past: Past, state: str) -> None:
    neighbour = past.ended(5)
    job_id = past.born(5)
    if state in ("running", "retrying", "dead", "scheduled"):
        past.lease(job_id)
    if state == "dead":
        past.fail(job_id, permanent=True)
    elif state == "retrying":
        past.fail(job_id)
    elif state == "scheduled":
        past.snooze(job_id)
    assert past.job(job_id).state == state
    past.age(3)

    past.retire()

    assert past.has(neighbour)
    week = timedelta(weeks=1).total_seconds()
    assert 3 * week < past.pinned_age() < 6 * week
    past.cancel(job_id) if state != "dead" else past.discard(job_id)
    past.age(1)
    past.retire()
    assert not past.has(neighbour)
    assert past.pinned_age() == 0


def test_what_happened_lately_keeps_the_week(past: Past) -> None:
    job_id = past.ended(5)
    past.retire()
    assert past.has(job_id)
    past.age(0.5)
    past.retire()
    assert not past.has(job_id)


def test_a_week_that_a_projection_has_not_read_stays(past: Past) -> None:
    fold_all(past.database)
    job_id = past.ended(5)
    past.age(3)
    retention = Retention(past.database, DAY, past.meters)
    assert not retention.run_once()
    assert past.has(job_id)
    past.execute("update ledger.cursors set old_holes = '{[1,2)}' where projection = 'jobs'")
    fold_all(past.database, PROJECTIONS[1:])
    past.execute("update ledger.cursors set high = 3 where projection = 'jobs'")
    assert not retention.run_once()
    assert past.has(job_id)


def test_a_week_with_a_job_set_aside_stays(past: Past) -> None:
    job_id = past.ended(5)
    past.age(3)
    fold_all(past.database)
    past.execute("insert into ledger.parked (projection, job_id, position, error) values ('jobs', %s, 1, 'x')", job_id)
    past.retire()
    assert past.has(job_id)


def test_a_rebuild_under_way_holds_retention_up(past: Past) -> None:
    job_id = past.ended(5)
    past.age(3)
    past.execute("insert into ledger.cursors (projection, generation, version, high) values ('jobs', 'next', 1, 999)")
    past.retire()
    assert past.has(job_id)


def test_a_schedule_with_ticks_to_decide_in_that_week_holds_it(past: Past) -> None:
    job_id = past.ended(5)
    past.age(3)
    past.execute(
        "insert into ledger.schedules (id, name, origin, job_type, cron_expression, queue, priority, max_retries, "
        "timeout_seconds, next_run_at) "
        "values (%s, 'nightly', 'api', 'a', '0 0 * * *', 'q', 1, 0, 1, now() - interval '5 weeks')",
        ids.mint(),
    )
    past.retire()
    assert past.has(job_id)
    past.execute("update ledger.schedules set next_run_at = now()")
    past.retire()
    assert not past.has(job_id)


def test_an_open_transaction_delays_it_and_appends_do_not_wait(past: Past, database: str) -> None:
    job_id = past.ended(5)
    past.age(3)
    fold_all(past.database)
    waits: list[float] = []
    with psycopg.connect(database) as somebody, ThreadPoolExecutor(1) as pool:
        somebody.execute("select count(*) from ledger.events")
        retiring = pool.submit(Retention(past.database, DAY, past.meters).run_once)
        clock = __import__("time").monotonic
        while not retiring.done():
            began = clock()
            past.enqueue()
            waits.append(clock() - began)
        assert retiring.result() is False
    assert past.rows(job_id) == 5
    assert len(waits) > 20
    assert max(waits) < 1
    past.retire()
    assert past.rows(job_id) == 0


def test_of_several_schedulers_one_retires_each_week(past: Past) -> None:
    """T5: retention too may be turned by any number of schedulers."""
    for weeks in (7, 6, 5, 4):
        past.ended(weeks)
    past.age(3)
    fold_all(past.database)
    barrier, done = threading.Barrier(4), threading.Event()

    def turn(_: int) -> None:
        retention = Retention(past.database, DAY, past.meters)
        barrier.wait(30)
        while not done.is_set():
            retention.run_once()

    with ThreadPoolExecutor(4) as pool:
        turns = pool.map(turn, range(4))
        try:
            until(
                lambda: past.execute("select count(*) from ledger.retirements where dropped_at is not null") == [(4,)]
            )
        finally:
            done.set()
        list(turns)
    assert past.execute("select count(*) from ledger.events") == [(0,)]
    assert past.execute("select count(*), bool_and(dropped_at is not null) from ledger.retirements") == [(4, True)]


@pytest.mark.parametrize("point", ["after_detach", "after_export"])
def test_killed_between_leaving_and_dropping_the_next_turn_goes_on(
    past: Past, database: str, redis_url: str, tmp_path: Path, point: str
) -> None:
    job_id = past.ended(5)
    past.age(3)
    fold_all(past.database)
    export = ("scheduler", "--export-to", str(tmp_path))
    urls = {"DATABASE_URL": database, "REDIS_URL": redis_url, "EVENT_RETENTION": "24h"}
    with service(*export, **urls, LEDGER_FAILPOINTS=point) as killed:
        assert killed.process.wait(60) == -signal.SIGKILL
    assert past.rows(job_id) == 0
    assert past.execute("select dropped_at from ledger.retirements") == [(None,)]
    assert past.execute("select count(*) from ledger.retired") == [(3,)]
    with service(*export, **urls) as running:
        until(lambda: running.said("week dropped"))
    assert past.execute("select to_regclass('ledger.retired')") == [(None,)]
    [path] = tmp_path.iterdir()
    assert gzip.decompress(path.read_bytes()).count(f",{job_id},".encode()) == 3


def test_a_turn_that_fails_midway_leaves_everything_as_it_was(past: Past) -> None:
    job_id = past.ended(5)
    past.age(3)
    fold_all(past.database)
    before = past.rows(job_id)
    past.execute("create table ledger.retired ()")  # so the last step is refused
    assert not Retention(past.database, DAY, past.meters).run_once()
    assert past.rows(job_id) == before
    assert differences(past) == []


def test_what_is_exported_can_be_copied_back(past: Past, tmp_path: Path) -> None:
    job_id = past.ended(5)
    past.age(3)
    columns = "position, at, job_id, version, kind, priority, queue, actor, data::text, body::text, meta::text"
    before = past.execute(f"select {columns} from ledger.events order by version")
    past.retire(export_to=tmp_path)
    [path] = tmp_path.iterdir()
    assert path.name.startswith("events_")
    past.execute("create table back (like ledger.events)")
    header, _, rows = gzip.decompress(path.read_bytes()).partition(b"\n")
    with past.database.connection() as connection, connection.cursor() as cursor:
        names = sql.SQL(header.decode())
        with cursor.copy(sql.SQL("copy back ({}) from stdin with (format csv)").format(names)) as copy:
            copy.write(rows)
    assert past.execute(f"select {columns} from back order by version") == before
    assert not past.has(job_id)


def test_the_application_role_may_retire_and_nothing_more(past: Past, database: str) -> None:
    job_id = past.ended(5)
    pinned = past.born(8)
    past.age(3)
    role = f"application_{os.urandom(4).hex()}"
    past.execute("select 1")
    fold_all(past.database)
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute(sql.SQL("create role {} login").format(sql.Identifier(role)))
        try:
            owner.execute("select ledger.grant_application(%s)", [role])
            with owner.transaction(force_rollback=True):
                owner.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
                with pytest.raises(psycopg.errors.InsufficientPrivilege), owner.transaction():
                    owner.execute(f"drop table ledger.{past.partition_of(job_id)}")
                with pytest.raises(psycopg.errors.InvalidParameterValue), owner.transaction():
                    owner.execute("select ledger.retire_partition('events_2020w01', '1 hour')")
                query = "select ledger.retire_partition(%s, '24 hours')"
                assert "have not ended" in owner.execute(query, [past.partition_of(pinned)]).fetchone()[0]
                assert owner.execute(query, [past.partition_of(job_id)]).fetchone() == (None,)
                owner.execute("select ledger.drop_retired()")
                assert owner.execute("select to_regclass('ledger.retired')").fetchone() == (None,)
        finally:
            owner.execute(sql.SQL("drop owned by {}").format(sql.Identifier(role)))
            owner.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


def test_a_week_that_left_may_come_back_and_leave_again(past: Past) -> None:
    past.ended(1.2)
    past.age(1.1)
    past.retire()
    Partitions(past.database).run_once()
    before = past.partitions()
    past.retire()
    assert past.partitions() == before  # last week's, made again and empty, is left alone
    late = past.ended(5)
    past.age(3)
    past.retire()
    again = past.ended(5)
    past.age(3)
    past.retire()
    assert not past.has(late)
    assert not past.has(again)
    assert past.execute("select max(jobs) from ledger.retirements") == [(2,)]


def test_event_retention_is_what_makes_the_scheduler_do_it(past: Past, database: str, redis_url: str) -> None:
    job_id = past.ended(5)
    past.age(3)
    fold_all(past.database)
    urls = {"DATABASE_URL": database, "REDIS_URL": redis_url}
    with service("scheduler", **urls) as without:
        until(lambda: without.said("probes listening"))
    assert past.has(job_id)
    with service("scheduler", **urls, EVENT_RETENTION="24h") as running:
        until(lambda: not past.has(job_id))
        assert running.metrics()["ledger_oldest_pinned_partition_age_seconds"] == 0


def test_a_lock_is_no_fence_an_event_that_slips_in_is_noticed(past: Past) -> None:
    """Should anybody append to a job that has ended, between the look and the lock, the week stays."""
    job_id = past.ended(5)
    past.age(3)
    fold_all(past.database)

    def slip_in() -> None:
        job = past.job(job_id)
        past.log.append([following(job, (Succeeded(1.0),), "worker:w1")])

    with failpoints.armed("before_retiring", slip_in):
        assert not Retention(past.database, DAY, past.meters).run_once()
    assert past.has(job_id)


def test_d11_what_has_ended_stays_for_ever_where_nobody_asked_for_its_end(past: Past, redis_url: str) -> None:
    """The original forgot a success after a day and a dead job after a week."""
    done, dead = past.ended(60), past.born(60)
    past.die(dead)
    past.discard(dead)
    past.age(60)
    fold_all(past.database)
    scheduler = Scheduler(past.database, redis_url, from_env({}), threading.Event())
    for loop in scheduler.loops:
        while loop.service.run_once():
            pass
    fold_all(past.database)
    assert [past.job(job).version for job in (done, dead)] == [3, 5]
    assert [past.rows(job) for job in (done, dead)] == [5, 7]
