"""The log's partitions: weeks of births, there before they are needed, and one of them holds a job's whole life."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from ledger.ids import derive, mint, smallest_at
from ledger.postgres import append_on, histories_on
from tests.support.histories import ENQUEUED, first, following

PARTITIONS = """
select c.relname, pg_get_expr(c.relpartbound, c.oid)
from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'ledger.events'::regclass order by 2
"""
WEEK = timedelta(weeks=1)


@pytest.fixture
def connection(database):
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def shared(module_database):
    """For tests that leave nothing behind."""
    with psycopg.connect(module_database, autocommit=True) as connection:
        yield connection


def partitions(connection) -> list[tuple[str, UUID, UUID]]:
    """Return (name, lower bound, upper bound) in order of birth."""
    rows = connection.execute(PARTITIONS).fetchall()
    return sorted(((name, *map(UUID, bound.split("'")[1::2])) for name, bound in rows), key=lambda row: row[1])


def database_now(connection) -> datetime:
    return connection.execute("select now()").fetchone()[0]


def test_last_week_to_eight_weeks_ahead_are_there_from_the_start(shared):
    now = database_now(shared)
    found = partitions(shared)

    assert len(found) == 10
    assert found[0][1] <= smallest_at(now - WEEK) < found[0][2]
    assert found[-1][1] <= smallest_at(now + 8 * WEEK) < found[-1][2]


def test_they_follow_each_other_without_a_gap_from_monday_to_monday(shared):
    found = partitions(shared)

    for (name, low, high), (_, next_low, _) in zip(found, [*found[1:], (None, found[-1][2], None)], strict=True):
        monday = datetime.fromtimestamp((low.int >> 80) / 1000, UTC)
        assert (monday.weekday(), monday.hour, monday.minute, monday.second) == (0, 0, 0, 0)
        assert name == f"events_{monday:%G}w{monday:%V}"
        assert low == smallest_at(monday)
        assert high == smallest_at(monday + WEEK) == next_low


@given(st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
@settings(max_examples=200)
def test_python_and_sql_agree_on_the_lowest_id_of_an_instant(shared, born):
    assert shared.execute("select ledger.lowest_id(%s)", [born]).fetchone() == (smallest_at(born),)


def test_the_application_may_make_partitions_though_it_owns_nothing(database):
    role = sql.Identifier(f"application_{os.urandom(4).hex()}")
    with psycopg.connect(database, autocommit=True) as connection, connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("create role {}").format(role))
        connection.execute("select ledger.grant_application(%s)", [role.as_string().strip('"')])
        connection.execute(sql.SQL("set local role {}").format(role))
        connection.execute("select ledger.ensure_partition(now() + interval '30 weeks')")
        job_id = derive(mint(), database_now(connection) + 30 * WEEK)

        [recorded] = append_on(connection, [first(job_id)])

        assert recorded.version == 1
        assert job_id in histories_on(connection, [job_id])


def test_ensuring_makes_only_what_is_missing(connection):
    assert connection.execute("select ledger.ensure_partitions(8)").fetchone() == (0,)
    assert connection.execute("select ledger.ensure_partitions(11)").fetchone() == (3,)
    assert len(partitions(connection)) == 13


@pytest.mark.parametrize(
    ("born", "name"),
    [
        ("2033-01-01T00:00:00Z", "events_2032w53"),
        ("2033-01-02T23:59:59.999999Z", "events_2032w53"),
        ("2033-01-03T00:00:00Z", "events_2033w01"),
        ("2029-12-31T12:00:00+14:00", "events_2029w52"),
        ("2029-12-31T12:00:00Z", "events_2030w01"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
def test_a_week_belongs_to_its_iso_year_in_every_time_zone(shared, born, name, zone):
    with shared.transaction(force_rollback=True):
        shared.execute("select set_config('timezone', %s, true)", [zone])

        assert shared.execute("select ledger.ensure_partition(%s)", [born]).fetchone() == (True,)
        assert name in {found for found, *_ in partitions(shared)}
        assert shared.execute("select ledger.ensure_partition(%s)", [born]).fetchone() == (False,)


def test_several_at_once_make_a_partition_once(database):
    barrier = threading.Barrier(4)

    def ensure(_: int) -> bool:
        with psycopg.connect(database, autocommit=True) as connection:
            barrier.wait(timeout=30)
            return connection.execute("select ledger.ensure_partition(now() + interval '30 weeks')").fetchone()[0]

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(ensure, range(4))) == [False, False, False, True]


def test_making_one_waits_for_nobody_who_appends_and_holds_up_nobody(database, connection):
    with psycopg.connect(database) as writer:
        append_on(writer, [first(mint())])
        connection.execute("set lock_timeout = '2s'")

        assert connection.execute("select ledger.ensure_partition(now() + interval '20 weeks')").fetchone() == (True,)
        append_on(writer, [first(mint())])


def test_a_partition_made_later_takes_events_and_has_the_logs_indexes(connection):
    now = database_now(connection)
    connection.execute("select ledger.ensure_partition(now() + interval '30 weeks')")
    job_id = derive(mint(), now + 30 * WEEK)

    append_on(connection, [first(job_id, ENQUEUED)])

    assert histories_on(connection, [job_id])[job_id][0].event == ENQUEUED
    counts = connection.execute(
        "select count(*) from pg_index join pg_inherits on inhrelid = indrelid "
        "where inhparent = 'ledger.events'::regclass group by indrelid"
    ).fetchall()
    assert set(counts) == {(2,)}


def test_a_job_stays_in_the_partition_of_its_birth(shared):
    now = database_now(shared)
    job_id = derive(mint(), now - timedelta(days=6))
    append_on(shared, [first(job_id)])
    append_on(shared, [following(histories_on(shared, [job_id])[job_id], ENQUEUED)])

    homes = shared.execute("select tableoid::regclass::text from ledger.events where job_id = %s", [job_id])
    assert len(set(homes.fetchall())) == 1


def test_an_id_without_a_partition_is_refused(shared):
    with pytest.raises(psycopg.errors.CheckViolation, match="no partition"):
        append_on(shared, [first(UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479"))])


def test_there_is_no_default_partition(shared):
    """It would forbid `detach … concurrently`, on which retention relies."""
    assert shared.execute(
        "select partdefid from pg_partitioned_table where partrelid = 'ledger.events'::regclass"
    ).fetchone() == (0,)
