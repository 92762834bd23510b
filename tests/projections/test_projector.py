"""The projector: everything is kept up to date while it runs, it waits for its servers, and leaves when told to."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
import redis
from ledger_migrations.migrate import migrate
from ledger_projections import engine
from ledger_projections.builtin import PROJECTIONS
from ledger_projections.filters import JobFilter
from ledger_projections.jobs import JOBS
from ledger_projections.projector import Prepared, Projector
from ledger_projections.queries import Queries

from ledger import Ledger, keys
from ledger.errors import Unavailable
from ledger.events import Priority
from ledger.runtime.database import Database
from tests.support.lives import Lives, fold_all


@pytest.fixture
def pool(database):
    pool = Database(database, size=8)
    yield pool
    pool.close()


@contextmanager
def projecting(pool, redis_url, projections=PROJECTIONS):
    stop = threading.Event()
    projector = Projector(pool, redis_url, stop, projections)
    thread = threading.Thread(target=projector.run)
    thread.start()
    try:
        yield projector
    finally:
        stop.set()
        thread.join(timeout=15)
    assert not thread.is_alive(), "the projector does not leave"


def eventually(condition, within: float = 20.0):
    """Ask again until it is so; what is not there yet counts as not so."""
    deadline = time.monotonic() + within
    while True:
        try:
            if result := condition():
                return result
        except Unavailable:
            pass
        assert time.monotonic() < deadline, "it never came true"
        threading.Event().wait(0.01)


def test_an_enqueued_job_is_dispatched_and_listed(database, pool, redis_url):
    app = Ledger(database_url=database, redis_url=redis_url)
    queries = Queries(pool)
    with projecting(pool, redis_url), redis.Redis.from_url(redis_url) as client:
        job_id = app.enqueue("email.send", {}, queue="mail")
        messages = eventually(lambda: client.xrange(keys.stream("mail", Priority.MEDIUM)))
        assert [fields[b"job"].decode() for _, fields in messages] == [str(job_id)]
        (job,) = eventually(lambda: queries.list_jobs(JobFilter()).items)
        assert job.id == job_id
        eventually(lambda: all(lag.events == 0 for lag in queries.lag().values()))
    app.close()


def test_read_models_let_more_gather_while_thousands_of_events_come(pool, redis_url, monkeypatch):
    """And no longer: what nobody waits for together is folded a quarter of a second later."""
    monkeypatch.setattr(engine, "MUCH", 30)
    lives = Lives(pool)
    projector = Projector(pool, redis_url, threading.Event())
    projector._folding.service.run_once()
    waits = []
    for count in (0, 29, 30, 1):
        for _ in range(count):
            lives.enqueue()
        while projector._folding.service.run_once():
            pass
        projector._models.rests = projector._models.gathers = False
        waits.append(projector._until_folding())
    projector.dispatcher.close()
    assert waits == [0.25, 0.25, 0.5, 0.25]


def test_read_models_of_an_older_version_are_rebuilt(database, pool, redis_url):
    lives = Lives(pool)
    lives.run(lives.enqueue())
    fold_all(pool)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("update ledger_read.jobs set state = 'as the old version had it'")
        newer = replace(JOBS, version=JOBS.version + 1)
        with projecting(pool, redis_url, [newer]):

            def renewed():
                return connection.execute("select state from ledger_read.jobs").fetchall() == [("succeeded",)]

            eventually(renewed)
        version = "select version from ledger.cursors where projection = 'jobs' and generation = 'live'"
        assert connection.execute(version).fetchone() == (JOBS.version + 1,)


def test_old_code_leaves_newer_read_models_alone(database, pool, redis_url):
    lives = Lives(pool)
    lives.enqueue()
    newer = replace(JOBS, version=JOBS.version + 1)
    fold_all(pool, [newer])
    with projecting(pool, redis_url, [JOBS]) as projector:
        lives.enqueue()
        turned = eventually(lambda: [loop for loop in projector.loops if loop.service.name == "projection jobs"])
        eventually(lambda: turned[0].seconds_since_turn < 0.01)
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from ledger_read.jobs").fetchone() == (1,)


def test_it_may_start_before_the_database_is_migrated(empty_database, redis_url):
    pool = Database(empty_database, size=8)
    with projecting(pool, redis_url):
        migrate(empty_database)
        queries = Queries(pool)
        eventually(lambda: queries.list_projections()[0].status == "live")
    pool.close()


def test_what_is_not_migrated_is_said_once_and_waited_for():
    class Role:
        name = "role"

        def run_once(self):
            return True

    calls = []

    def prepare():
        calls.append("prepare")
        if len(calls) == 1:
            raise psycopg.errors.UndefinedTable

    service = Prepared(Role(), prepare)
    with pytest.raises(Unavailable, match="ledger db migrate"):
        service.run_once()
    assert service.run_once()
    assert service.run_once()
    assert calls == ["prepare", "prepare"]
