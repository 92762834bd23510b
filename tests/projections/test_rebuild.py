"""Rebuilding read models: beside the live ones, resumable, under traffic, and with a proof at the end."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

import psycopg
import pytest
from ledger_projections import cursors, generations, shares
from ledger_projections.attempts import ATTEMPTS
from ledger_projections.builtin import PROJECTIONS
from ledger_projections.engine import Engine
from ledger_projections.jobs import JOBS
from ledger_projections.rebuild import rebuild
from ledger_projections.verify import verify

from ledger import ids
from ledger.events import Enqueued, Priority, Request
from ledger.log import Append
from ledger.postgres import append_on
from ledger.runtime.database import Database
from tests.support.lives import Lives, fold_all

TABLES = [table for projection in PROJECTIONS for table in projection.tables]


@pytest.fixture
def population(database, lives):
    """Forty jobs somewhere in their lives, born in three partitions."""
    made = [lives.enqueue(queue=f"q{n % 3}", priority=Priority(n % 4)) for n in range(34)]
    with psycopg.connect(database, autocommit=True) as connection:
        for days in (14, 28):
            connection.execute("select ledger.ensure_partition(now() + make_interval(days => %s))", [days])
    for days in (14, 28):
        later = ids.smallest_at(lives.log.clock.now() + timedelta(days=days))
        for n in range(3):
            born = type(later)(int=later.int | 0x7000_8000_0000_0000_0000 | n)
            first = Enqueued(request=Request(type="later"))
            lives.log.append([Append(job_id=born, events=(first,), queue="q0", priority=Priority.LOW, actor="test")])
            made.append(born)
    for _ in range(6):
        for job_id in made:
            lives.step(job_id)
    return made


@pytest.fixture
def application(database):
    """A role with what Ledger's processes need, and no more."""
    role = f"app_{urlsplit(database).path.strip('/')}"
    execute(database, f'create role "{role}" login')
    execute(database, "select ledger.grant_application(%s)", role)
    yield role
    execute(database, f'drop owned by "{role}"')
    execute(database, f'drop role "{role}"')


def with_user(url: str, role: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()


def rows(database: str, schema: str = "ledger_read") -> dict[str, list]:
    with psycopg.connect(database) as connection:
        return {
            table: sorted(connection.execute(f"select * from {schema}.{table}").fetchall(), key=str) for table in TABLES
        }


def execute(database: str, sql: str, *parameters):
    with psycopg.connect(database, autocommit=True) as connection:
        cursor = connection.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def running(*actions):
    """Repeat these in threads until the block ends; what one raises comes out here."""
    stop, errors = threading.Event(), []

    def repeat(action):
        while not stop.is_set():
            try:
                action()
            except BaseException as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=repeat, args=[action]) for action in actions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def test_t14_a_rebuild_equals_the_live_read_models(database, pool, population):
    fold_all(pool, batch_size=5)
    before = rows(database)
    done = rebuild(pool, PROJECTIONS, jobs=3, batch_size=7)
    assert [each.projection for each in done] == [projection.name for projection in PROJECTIONS]
    assert all(each.comparison is not None and each.comparison.differing == 0 for each in done)
    assert sum(each.comparison.rows for each in done) == sum(map(len, before.values()))
    assert rows(database) == before
    assert execute(database, "select count(*) from ledger.rebuild_shares") == [(0,)]
    assert execute(database, "select distinct generation from ledger.cursors") == [("live",)]
    fold_all(pool)
    assert rows(database) == before, "and an engine goes on where it ends"


def test_read_models_that_are_not_there_are_built(database, pool, population):
    done = rebuild(pool, PROJECTIONS)
    assert [each.comparison for each in done] == [None] * len(PROJECTIONS)
    built = rows(database)
    rebuilt = rebuild(pool, PROJECTIONS)
    assert [each.comparison.differing for each in rebuilt] == [0] * len(PROJECTIONS)
    assert rows(database) == built


def test_an_empty_log_is_rebuilt_too(database, pool):
    rebuild(pool, PROJECTIONS)
    assert not any(rows(database).values())


def test_the_comparison_finds_what_had_gone_wrong_and_the_rebuild_mends_it(database, pool, population):
    fold_all(pool)
    before = rows(database)
    execute(database, "update ledger_read.jobs set state = 'lost' where job_id = %s", population[0])
    execute(database, "delete from ledger_read.jobs where job_id = %s", population[1])
    (done,) = rebuild(pool, [JOBS])
    assert done.comparison.differing == 2
    assert rows(database) == before


def test_a_row_that_only_the_live_one_has_counts_too(database, pool, population):
    fold_all(pool)
    before = rows(database)
    execute(
        database,
        "update ledger_read.attempts set lease_version = lease_version + 100 where job_id = %s",
        population[0],
    )
    (done,) = rebuild(pool, [ATTEMPTS])
    assert done.comparison.differing == sum(row[0] == population[0] for row in before["attempts"]) > 0
    assert rows(database) == before


def test_a_rebuilt_read_model_has_the_indexes_of_one_that_was_kept_up(database, pool, population):
    def indexes() -> list:
        return execute(database, "select indexdef from pg_indexes where schemaname = 'ledger_read' order by 1")

    fold_all(pool)
    kept_up = indexes()
    stop = threading.Event()
    rebuild(pool, PROJECTIONS, lambda folded, total: folded == total and stop.set(), stop=stop)
    rebuild(pool, PROJECTIONS)
    assert indexes() == kept_up
    assert len(kept_up) > 15


def test_a_poison_event_is_parked_and_the_lives_around_it_are_told_to_their_ends(database, pool, population):
    execute(
        database,
        "insert into ledger.events (job_id, version, kind, queue, priority, actor) "
        "values (%s, 1, 'enqueued', 'q0', 2, 'test')",
        ids.mint(),
    )
    for job_id in population[:10]:
        Lives(pool).step(job_id)
    fold_all(pool)
    before = rows(database)
    rebuilt = rebuild(pool, PROJECTIONS)
    assert [done.comparison.differing for done in rebuilt] == [0] * len(PROJECTIONS)
    assert rows(database) == before
    assert execute(database, "select projection from ledger.parked") == [("jobs",)]


def test_a_publication_of_all_tables_forbids_no_read_model_its_updates(database, pool, lives, population):
    """What has no replica identity may not be updated then, and a rebuild makes keys last."""
    fold_all(pool)
    execute(database, "create publication everything for all tables")
    rebuild(pool, PROJECTIONS)
    for job_id in population:
        lives.step(job_id)
    fold_all(pool)
    told = rows(database)
    assert [done.comparison.differing for done in rebuild(pool, PROJECTIONS)] == [0] * len(PROJECTIONS)
    assert rows(database) == told
    assert not execute(database, "select from ledger.parked")


def test_progress_reaches_the_number_of_events(database, pool, population):
    told = []
    rebuild(pool, [JOBS], lambda folded, total: told.append((folded, total)), jobs=1, batch_size=10)
    ((events,),) = execute(database, "select count(*) from ledger.events")
    assert told[0] == (0, events)
    assert told[-1] == (events, events)
    assert [folded for folded, _ in told] == sorted(folded for folded, _ in told)


def test_an_interrupted_rebuild_goes_on_where_it_stopped(database, pool, lives, population):
    fold_all(pool)
    before = rows(database)
    stop = threading.Event()
    told = []

    def interrupt(folded, total):
        told.append(folded)
        if folded > total / 2:
            stop.set()

    assert rebuild(pool, PROJECTIONS, interrupt, jobs=2, batch_size=5, stop=stop) == []
    assert rows(database) == before, "what readers see has not changed"
    kept = told[-1]
    for job_id in population:  # life goes on meanwhile
        lives.step(job_id)
    fold_all(pool)
    before = rows(database)
    resumed = []
    done = rebuild(pool, PROJECTIONS, lambda folded, _: resumed.append(folded), batch_size=5)
    assert resumed[0] >= kept > 0
    assert [each.comparison.differing for each in done] == [0] * len(PROJECTIONS)
    assert rows(database) == before


def test_a_share_that_moves_while_it_is_claimed_is_claimed_where_it_is_now(database, pool, population):
    """Who finds no share that is free leaves, so it must be so."""
    projections = {projection.name: projection for projection in PROJECTIONS}
    with pool.connection() as connection, connection.transaction():
        shares.plan(connection, PROJECTIONS)
    with psycopg.connect(database, autocommit=True) as mover, pool.connection() as folder:

        def move():
            mover.execute(
                "update ledger.rebuild_shares set born_from = ledger.lowest_id(now() - interval '1 hour') "
                "where partition = (select min(partition) from ledger.rebuild_shares)"
            )

        with running(move):
            for _ in range(300):
                with folder.transaction(force_rollback=True):
                    assert shares.fold_next(folder, projections, 1) is not None


def test_a_rebuild_begun_by_another_version_is_begun_afresh(database, pool, population):
    fold_all(pool)
    before = rows(database)
    stop = threading.Event()
    rebuild(pool, [replace(JOBS, version=7)], lambda folded, _: folded and stop.set(), batch_size=5, stop=stop)
    execute(database, "update ledger_next.jobs set state = 'of the other version'")
    resumed = []
    rebuild(pool, [JOBS], lambda folded, _: resumed.append(folded))
    assert resumed[0] == 0
    assert rows(database) == before


def test_a_new_version_replaces_the_old_and_the_old_code_stands_by(database, pool, lives, population):
    fold_all(pool)
    newer = replace(JOBS, version=JOBS.version + 1)
    (done,) = rebuild(pool, [newer])
    assert done.comparison is None, "rows of different versions are not compared"
    lives.enqueue()
    fold_all(pool, [JOBS])
    assert execute(database, "select version from ledger.cursors where projection = 'jobs'") == [(JOBS.version + 1,)]
    behind = rows(database)["jobs"]
    fold_all(pool, [newer])
    assert len(rows(database)["jobs"]) == len(behind) + 1


def test_what_commits_late_is_in_the_rebuilt_read_model(database, pool, lives, population):
    fold_all(pool)
    job_id = ids.mint()
    first = Append(
        job_id=job_id, events=(Enqueued(request=Request(type="late")),), queue="q", priority=Priority.LOW, actor="test"
    )
    with psycopg.connect(database) as open_:
        append_on(open_, [first])
        lives.enqueue()
        with pool.connection() as connection, connection.transaction():
            shares.plan(connection, [JOBS])
        open_.commit()
    (done,) = rebuild(pool, [JOBS])
    assert done.comparison.differing == 0
    assert execute(database, "select count(*) from ledger_read.jobs where job_id = %s", job_id) == [(1,)]


def test_t14_readers_see_nothing_change_or_go_back_while_a_rebuild_runs_under_traffic(database, pool, population):
    fold_all(pool)
    seen: dict[str, int] = {}
    looks = []
    lock = threading.Lock()

    def read():
        with psycopg.connect(database, autocommit=True) as connection:
            for _ in range(20):
                found = connection.execute("select job_id::text, version from ledger_read.jobs").fetchall()
                with lock:
                    looks.append(len(found))
                    versions = dict(found)
                    assert versions.keys() >= seen.keys(), "a job has vanished"
                    back = {job_id for job_id, version in seen.items() if versions[job_id] < version}
                    assert not back, "a job has gone back"
                    seen.update(versions)

    def write(seed):
        lives = Lives(pool, seed)

        def act():
            job_id = lives.enqueue(queue=f"q{seed}")
            while lives.step(job_id) and lives.random.random() < 0.8:
                pass

        return act

    engines = [Engine(pool, projection, batch_size=50) for projection in PROJECTIONS]

    def fold():
        for engine in engines:
            engine.run_once()

    with running(read, write(1), write(2), fold):
        for _ in range(3):
            done = rebuild(pool, PROJECTIONS, jobs=2, batch_size=20)
            assert [each.comparison.differing for each in done] == [0] * len(PROJECTIONS)
    assert len(looks) > 20
    assert looks[-1] > len(population)
    fold_all(pool)
    built = rows(database)
    rebuild(pool, PROJECTIONS)
    assert rows(database) == built


def test_two_processes_share_one_rebuild(database, pool, population):
    fold_all(pool)
    before = rows(database)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(rebuild(pool, PROJECTIONS, jobs=1, batch_size=3)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert rows(database) == before


def test_the_swap_does_not_queue_behind_a_long_reader(database, pool, population, monkeypatch):
    monkeypatch.setattr(generations, "READERS_WAIT", "50ms")
    fold_all(pool)
    with psycopg.connect(database) as reader, running() as _:
        reader.execute("select count(*) from ledger_read.jobs")
        done = threading.Event()
        worker = threading.Thread(target=lambda: (rebuild(pool, [JOBS]), done.set()))
        worker.start()
        for _ in range(5):  # others read on, however long the first one sits there
            with psycopg.connect(database, autocommit=True) as other:
                other.execute("set statement_timeout = '5s'")
                other.execute("select count(*) from ledger_read.jobs")
        assert not done.is_set()
        reader.rollback()
        worker.join()
    assert done.is_set()


def test_the_applications_own_role_may_rebuild(database, population, application):
    own = Database(with_user(database, application), size=4)
    fold_all(own)
    done = rebuild(own, PROJECTIONS)
    assert [each.comparison.differing for each in done] == [0] * len(PROJECTIONS)
    assert [check.name for check in verify(own, None, max_crashes=3) if check.differing] == []
    own.close()


def test_what_commits_between_two_looks_of_the_swap_is_not_taken_for_void(database, pool, lives, monkeypatch):
    lives.enqueue()
    late = ids.mint()
    opened = (Enqueued(request=Request(type="late")),)
    with psycopg.connect(database) as open_:
        append_on(open_, [Append(job_id=late, events=opened, queue="q", priority=Priority.LOW, actor="test")])
        lives.enqueue()
        with pool.connection() as connection, connection.transaction():
            shares.plan(connection, [JOBS])
        engine = Engine(pool, JOBS, generation="next")
        lives.enqueue()
        engine.run_once()
        lives.enqueue()
        look = cursors._read_late

        def look_then_commit(*arguments):
            found = look(*arguments)
            open_.commit()
            return found

        monkeypatch.setattr(cursors, "_read_late", look_then_commit)
        with pool.connection() as connection, connection.transaction():
            generations.swap(connection, JOBS)
    monkeypatch.undo()
    fold_all(pool, [JOBS])
    assert execute(database, "select count(*) from ledger_read.jobs where job_id = %s", late) == [(1,)]
