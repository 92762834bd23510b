"""Redis emptied, cut, killed and restarted empty under load: every ready job is on its stream again, by itself.

Duplicates are allowed: a message proves nothing, the lease in the log decides.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import redis
from ledger_projections.builtin import PROJECTIONS
from ledger_projections.engine import Engine

from ledger import keys
from ledger.errors import Unavailable
from ledger.events import Priority
from ledger.postgres import PostgresLog
from ledger.runtime.database import Database
from ledger.runtime.service import Loop
from tests.support.dispatching import dispatched, dispatching, drain, enqueue, hurry
from tests.support.lives import Lives, fold_all
from tests.support.servers import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from ledger_projections.dispatch import Dispatcher

    from ledger.runtime.embedded import EmbeddedRedis

STREAM = keys.stream("mail", Priority.MEDIUM)
PATIENCE = 30.0


@pytest.fixture
def logs(database: str) -> Iterator[Database]:
    pool = Database(database)
    yield pool
    pool.close()


@pytest.fixture
def dispatcher(database: str, private_redis: EmbeddedRedis) -> Iterator[Dispatcher]:
    with dispatching(database, private_redis.url) as made:
        yield made


@pytest.fixture
def projector(dispatcher: Dispatcher, logs: Database) -> Iterator[None]:
    """Dispatch and the jobs read model in their loops, as in a projector process."""
    fold_all(logs, PROJECTIONS[:1])
    stop = threading.Event()
    tenth = timedelta(milliseconds=10)
    loops = [
        Loop(service, stop, shortest=tenth, longest=tenth) for service in (dispatcher, Engine(logs, PROJECTIONS[0]))
    ]
    threads = [loop.start() for loop in loops]
    yield
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)


@pytest.mark.usefixtures("projector")
def test_t3_d13_emptied_under_load(database: str, dispatcher: Dispatcher, private_redis: EmbeddedRedis) -> None:
    with redis.Redis.from_url(private_redis.url) as client, load(database) as made:
        for _ in range(3):
            before = len(made)
            wait_until(lambda before=before: len(made) > before + 100)
            client.flushall()
    arrive(private_redis.url, made)
    assert dispatcher.refills > 1


@pytest.mark.usefixtures("projector")
def test_a_stream_deleted_under_load(database: str, dispatcher: Dispatcher, private_redis: EmbeddedRedis) -> None:
    with redis.Redis.from_url(private_redis.url) as client, load(database) as made:
        wait_until(lambda: client.xlen(STREAM) > 100)
        client.delete(STREAM)
        lost = len(made)
        wait_until(lambda: len(made) > lost + 100)
    arrive(private_redis.url, made)
    assert dispatcher.refills > 1


@pytest.mark.usefixtures("projector")
def test_t3_d13_killed_under_load_and_restarted_empty(database: str, private_redis: EmbeddedRedis) -> None:
    with load(database) as made:
        wait_until(lambda: len(made) > 100)
        private_redis.kill()
        down = len(made)
        wait_until(lambda: len(made) > down + 100)  # enqueueing needs no Redis
        for file in (private_redis.directory / private_redis.name).rglob("*"):
            if file.is_file():
                file.unlink()
        private_redis.start()
    arrive(private_redis.url, made)


def test_restarted_with_what_it_had_is_looked_through(
    dispatcher: Dispatcher, logs: Database, private_redis: EmbeddedRedis
) -> None:
    """The marker survives such a restart, and only the server's identity tells that messages may be missing."""
    jobs = enqueue(PostgresLog(logs), 10)
    drain(dispatcher)
    fold_all(logs)
    with redis.Redis.from_url(private_redis.url) as client:
        client.xtrim(STREAM, maxlen=5, approximate=False)  # stands for the last second of an append-only file
    private_redis.stop()
    private_redis.start()
    hurry(dispatcher)
    assert sorted(dispatched(private_redis.url)) == sorted(jobs)
    assert dispatcher.refills == 2


def test_a_promoted_replica_that_lacks_the_tail_is_looked_through(
    dispatcher: Dispatcher, logs: Database, private_redis: EmbeddedRedis
) -> None:
    """A promotion changes the replication id and, behind a proxy, nothing else."""
    jobs = enqueue(PostgresLog(logs), 20)
    drain(dispatcher)
    fold_all(logs)
    with redis.Redis.from_url(private_redis.url) as client:
        for entry, _ in client.xrevrange(STREAM, count=10):
            client.xdel(STREAM, entry)
        client.replicaof("127.0.0.1", "1")
        client.replicaof("NO", "ONE")
    hurry(dispatcher)
    assert sorted(dispatched(private_redis.url)) == sorted(jobs)
    assert dispatcher.healed == 0


def test_down_is_said_and_waited_for(dispatcher: Dispatcher, logs: Database, private_redis: EmbeddedRedis) -> None:
    private_redis.stop()
    jobs = enqueue(PostgresLog(logs), 3)
    for _ in range(3):
        with pytest.raises(Unavailable, match="Redis"):
            hurry(dispatcher)
    private_redis.start()
    drain(dispatcher)
    assert set(dispatched(private_redis.url)) == set(jobs)


def test_full_pauses_dispatch_and_nothing_is_sent_twice_when_there_is_room(
    database: str, logs: Database, private_redis: EmbeddedRedis
) -> None:
    batch = 50
    with (
        redis.Redis.from_url(private_redis.url) as client,
        dispatching(database, private_redis.url, batch_size=batch) as dispatcher,
    ):
        jobs = enqueue(PostgresLog(logs))
        drain(dispatcher)
        jobs += enqueue(PostgresLog(logs), 900)
        lengths: list[int] = []
        room = client.info("memory")["used_memory"]
        for _ in range(1000):  # a little more room each time, so that most batches are taken in parts
            client.config_set("maxmemory", room)
            try:
                drain(dispatcher)
                break
            except Unavailable:
                lengths.append(client.xlen(STREAM))
                room += 1000
        assert {(length - 1) % batch for length in lengths} - {0}, lengths
    # Not in order: of a batch that is refused in part, any part may be.
    assert sorted(dispatched(private_redis.url)) == jobs


def test_what_was_leased_while_redis_was_away_is_not_brought_back(
    dispatcher: Dispatcher, logs: Database, private_redis: EmbeddedRedis
) -> None:
    lives = Lives(logs)
    done, ready = lives.enqueue(), lives.enqueue()
    drain(dispatcher)
    lives.run(done)
    fold_all(logs)
    with redis.Redis.from_url(private_redis.url) as client:
        client.flushall()
    hurry(dispatcher)
    assert dispatched(private_redis.url) == [ready]


def test_a_read_model_that_lags_loses_nothing(
    dispatcher: Dispatcher, logs: Database, private_redis: EmbeddedRedis
) -> None:
    """The refill goes on from where that read model stood, so the log brings what it lacks."""
    log = PostgresLog(logs)
    jobs = enqueue(log, 5)
    fold_all(logs)
    jobs += enqueue(log, 5)
    drain(dispatcher)
    with redis.Redis.from_url(private_redis.url) as client:
        client.flushall()
    hurry(dispatcher)
    assert dispatched(private_redis.url) == jobs


def test_no_read_model_at_all_loses_nothing(
    dispatcher: Dispatcher, logs: Database, private_redis: EmbeddedRedis, database: str
) -> None:
    fold_all(logs)
    jobs = enqueue(PostgresLog(logs), 5)
    drain(dispatcher)
    with connect(database) as connection, redis.Redis.from_url(private_redis.url) as client:
        connection.execute("drop table ledger_read.jobs")
        connection.execute("delete from ledger.cursors where projection = 'jobs'")
        client.flushall()
    hurry(dispatcher)
    assert dispatched(private_redis.url) == jobs


@contextmanager
def load(database: str) -> Iterator[list[UUID]]:
    """Somebody who enqueues without pause; the list holds every job that is on record."""
    made: list[UUID] = []
    stop = threading.Event()

    def work() -> None:
        logs = Database(database, size=1)
        while not stop.is_set():
            made.extend(enqueue(PostgresLog(logs), 5))
        logs.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield made
    finally:
        stop.set()
        thread.join(PATIENCE)


def arrive(redis_url: str, jobs: list[UUID]) -> None:
    """Wait until every one of these is on its stream."""
    assert jobs
    wait_until(lambda: set(jobs) <= set(dispatched(redis_url)))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.02)
