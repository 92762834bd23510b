"""Postgres is killed before it flushed what was committed asynchronously: a lease may go, what was acknowledged stays.

The server is durable, and its WAL writer stands still: only commits that wait for the disk take anything there.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from ledger_migrations.migrate import migrate
from ledger_workers.board import Board
from ledger_workers.leases import Leases
from structlog.testing import capture_logs

from ledger import commands
from ledger.cli import main
from ledger.events import Kind, Leased
from ledger.log import Conflict, Recorded
from ledger.runtime.database import Database
from ledger.runtime.embedded import EmbeddedPostgres
from tests.support.dispatching import dispatching, drain, hurry, messages
from tests.support.lives import fold_all
from tests.support.servers import connect
from tests.support.working import ended, kinds, ledger_on, patiently, reached, until, working

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from uuid import UUID

    from ledger_workers.leases import Run

    from ledger import Ledger
    from ledger.log import Outcome

LAZY = {"wal_writer_delay": "10s", "wal_writer_flush_after": "1GB", "autovacuum": "off", "bgwriter_lru_maxpages": "0",
        "checkpoint_timeout": "1h"}  # fmt: skip
"""Nobody but a commit writes the WAL out."""


@pytest.fixture
def postgres(servers_directory: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(servers_directory, settings=LAZY) as server:
        migrate(server.url)
        freeze_wal_writer(server)
        yield server
        server.kill()  # with a writer that stands still it could not leave in good order


@pytest.fixture
def ledger(postgres: EmbeddedPostgres, redis_url: str) -> Iterator[Ledger]:
    """An application whose every statement goes through one connection: what a lease set there must not stay."""
    with ledger_on(postgres.url, redis_url, DATABASE_POOL_SIZE="1") as ledger:
        yield ledger


@pytest.fixture
def first(ledger: Ledger) -> Iterator[Leases]:
    """The leases of a worker that is there before the crash and after it, and knows nothing of it."""
    board = Board.create(10)
    yield Leases(ledger.log, board, "w-first")
    board.close()


def freeze_wal_writer(server: EmbeddedPostgres) -> None:
    with connect(server.url) as connection:
        (pid,) = connection.execute("select pid from pg_stat_activity where backend_type = 'walwriter'").fetchone()
    os.kill(pid, signal.SIGSTOP)


def crash(server: EmbeddedPostgres) -> None:
    """Kill every process of it at once, and start it again."""
    server.kill()
    server.start()
    freeze_wal_writer(server)


@contextmanager
def unwritten(server: EmbeddedPostgres) -> Iterator[None]:
    """See to it that what is committed here has not even left the server's memory."""
    with connect(server.url) as connection:
        (before,) = connection.execute("select pg_current_wal_insert_lsn()").fetchone()
        yield
        made, written = connection.execute(
            "select pg_current_wal_insert_lsn() > %(before)s, pg_current_wal_lsn() > %(before)s", {"before": before}
        ).fetchone()
    assert (made, written) == (True, False)


def taken(leases: Leases, redis_url: str) -> Run:
    (run,) = leases.take(messages(redis_url, "default")[-1:])
    return run


def outcome(ledger: Ledger, run: Run) -> Outcome:
    """Report the run's success as its worker does, and return what the log says to it."""
    (answer,) = ledger.log.append([run.append(commands.succeed(run.state, 1.0, b'"from the first"'), "w-first")])
    return answer


def verified(server: EmbeddedPostgres, redis_url: str) -> str:
    return CliRunner().invoke(main, ["verify"], env={"DATABASE_URL": server.url, "REDIS_URL": redis_url}).output


def test_a_lease_that_a_crash_of_postgres_took_is_leased_again_and_the_first_holder_is_refused(
    postgres: EmbeddedPostgres, redis_url: str, ledger: Ledger, first: Leases
) -> None:
    go = threading.Event()

    @ledger.job("t")
    def t() -> str:
        go.wait(60)
        return "from the second"

    pool = Database(postgres.url)
    with dispatching(postgres.url, redis_url) as dispatcher:
        job_id = ledger.enqueue("t")
        with unwritten(postgres):
            fold_all(pool)
            drain(dispatcher)
            run = taken(first, redis_url)
            assert kinds(ledger, job_id) == [Kind.ENQUEUED, Kind.LEASED]
        crash(postgres)

        assert patiently(lambda: kinds(ledger, job_id)) == [Kind.ENQUEUED], "the lease was on disk: nothing is proved"
        patiently(lambda: hurry(dispatcher))
        assert [message.version for message in messages(redis_url, "default")] == [1, 1], "it was not dispatched again"
        with working(ledger, "w-second", concurrency=1):
            reached(ledger, job_id, "running")
            assert ledger.history(job_id)[1].version == run.state.lease_version, "the same place in the log"
            assert isinstance(outcome(ledger, run), Conflict)
            go.set()
            job = ended(ledger, job_id)
        assert (job.state, job.result, job.attempt) == ("succeeded", "from the second", 1)
        assert isinstance(outcome(ledger, run), Conflict)
        patiently(lambda: fold_all(pool))
        hurry(dispatcher)
        assert dispatcher.rewinds == 0, "a lost lease is no lost log"
    pool.close()
    (lease,) = (entry.event for entry in ledger.history(job_id) if isinstance(entry.event, Leased))
    assert lease.worker_id == "w-second"
    assert "no differences" in verified(postgres, redis_url)


def test_a_worker_whose_lease_a_crash_of_postgres_took_is_refused_and_the_job_runs_again(
    postgres: EmbeddedPostgres, redis_url: str, ledger: Ledger
) -> None:
    began, go, runs = threading.Event(), threading.Event(), []

    @ledger.job("t")
    def t() -> int:
        runs.append(1)
        began.set()
        go.wait(60)
        return len(runs)

    pool = Database(postgres.url)
    with dispatching(postgres.url, redis_url) as dispatcher, capture_logs() as lines:
        job_id = ledger.enqueue("t")
        with working(ledger, concurrency=1):
            with unwritten(postgres):
                drain(dispatcher)
                assert began.wait(60)
            crash(postgres)
            assert patiently(lambda: kinds(ledger, job_id)) == [Kind.ENQUEUED]
            go.set()
            until(lambda: any(line["event"] == "lease lost" for line in lines))
            patiently(lambda: fold_all(pool))
            patiently(lambda: hurry(dispatcher))
            assert ended(ledger, job_id).result == 2
        fold_all(pool)
        hurry(dispatcher)
    pool.close()
    assert kinds(ledger, job_id) == [Kind.ENQUEUED, Kind.LEASED, Kind.SUCCEEDED]
    assert "no differences" in verified(postgres, redis_url)


def test_what_was_acknowledged_survives_a_crash_of_postgres_at_that_very_moment(
    postgres: EmbeddedPostgres, redis_url: str, ledger: Ledger, first: Leases
) -> None:
    """Each on the connection on which a lease has just been committed asynchronously."""
    pool = Database(postgres.url)
    told: dict[UUID, Kind] = {}

    def lease() -> Run:
        return taken(first, redis_url)

    def enqueue() -> None:
        lease()
        told[ledger.enqueue("u", queue="nobody")] = Kind.ENQUEUED

    def enqueue_many() -> None:
        lease()
        told.update(dict.fromkeys(ledger.enqueue_many([{"type": "u", "queue": "nobody"}] * 30), Kind.ENQUEUED))

    def cancel() -> None:
        job_id = ledger.enqueue("u", queue="nobody")
        lease()
        ledger.cancel(job_id)
        told[job_id] = Kind.CANCELLED

    def succeed() -> None:
        run = lease()
        assert isinstance(outcome(ledger, run), Recorded)
        told[run.state.id] = Kind.SUCCEEDED

    with dispatching(postgres.url, redis_url) as dispatcher:
        for action in (enqueue, enqueue_many, cancel, succeed):
            ledger.enqueue("t")
            patiently(lambda: hurry(dispatcher))
            action()
            crash(postgres)
            assert patiently(lambda: {job_id: kinds(ledger, job_id)[-1] for job_id in told}) == told, action.__name__
        patiently(lambda: fold_all(pool))
        patiently(lambda: hurry(dispatcher))
    pool.close()
    assert len(told) == 33
    assert "no differences" in verified(postgres, redis_url)
