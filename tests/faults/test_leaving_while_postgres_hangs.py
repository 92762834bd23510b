"""SIGTERM while statements hang, behind somebody's lock or in a server that stands still: the process leaves in time.

The locks are held before the process starts, so that the first turn of every loop meets them.
"""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from ledger_migrations.migrate import migrate
from ledger_projections.jobs import JOBS
from ledger_projections.rebuild import rebuild

from ledger.errors import Unavailable
from ledger.runtime import deadline
from ledger.runtime.database import Database
from tests.support.api_process import until
from tests.support.lives import Lives, fold_all
from tests.support.services import ServiceProcess
from tests.support.working import APP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.runtime.embedded import EmbeddedPostgres

IN_TIME = 30
"""Seconds: what Kubernetes gives a process. It means to take under ten."""

EAGER = {"WORKER_SHUTDOWN_TIMEOUT": "1s", "WORKER_HEARTBEAT_INTERVAL": "1s"}

TABLES = """
    select string_agg(format('%I.%I', schemaname, tablename), ', ') from pg_tables
    where schemaname in ('ledger', 'ledger_read') and tablename not like 'events_%'
"""
WAITING = """
    select count(*) from pg_stat_activity where application_name = %s and wait_event_type = 'Lock'
"""


@contextmanager
def running(
    postgres: EmbeddedPostgres, redis_url: str, *arguments: str, **environment: str
) -> Iterator[ServiceProcess]:
    service = ServiceProcess(*arguments, DATABASE_URL=postgres.url, REDIS_URL=redis_url, **environment)
    try:
        yield service
    finally:
        service.process.kill()
        service.process.wait()


@contextmanager
def standing_still(eye: psycopg.Connection) -> Iterator[None]:
    """Stop the server and all its processes where they are: connections live, and nobody answers."""
    (directory,) = eye.execute("show data_directory").fetchone()
    main = int((Path(directory) / "postmaster.pid").read_text().splitlines()[0])
    everyone = [main, *map(int, Path(f"/proc/{main}/task/{main}/children").read_text().split())]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in everyone:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(("command", "at_least"), [("scheduler", 5), ("projector", 2)])
def test_it_leaves_while_all_its_statements_wait(
    private_postgres: EmbeddedPostgres, redis_url: str, command: str, at_least: int
) -> None:
    migrate(private_postgres.url)
    pool = Database(private_postgres.url)
    fold_all(pool)
    with psycopg.connect(private_postgres.url) as holder, psycopg.connect(private_postgres.url, autocommit=True) as eye:
        (tables,) = holder.execute(TABLES).fetchone()
        holder.execute(f"lock table {tables} in access exclusive mode")
        with running(private_postgres, redis_url, command) as service:
            until(lambda: eye.execute(WAITING, (f"ledger-{command}",)).fetchone()[0] >= at_least)
            with standing_still(eye):
                service.process.send_signal(signal.SIGTERM)
                assert service.process.wait(IN_TIME) == 0, service.lines
    pool.close()


def test_a_worker_leaves_while_the_server_stands_still(private_postgres: EmbeddedPostgres, redis_url: str) -> None:
    migrate(private_postgres.url)
    with (
        psycopg.connect(private_postgres.url, autocommit=True) as eye,
        running(private_postgres, redis_url, "worker", APP, **EAGER) as service,
    ):
        until(lambda: service.said("worker started"))
        with standing_still(eye):
            until(lambda: service.said("heartbeats wait"))
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(60) == 0, service.lines


def test_it_leaves_in_the_middle_of_a_rebuild(private_postgres: EmbeddedPostgres, redis_url: str) -> None:
    """The threads that fold the shares are not those of the loops."""
    migrate(private_postgres.url)
    pool = Database(private_postgres.url)
    lives = Lives(pool)
    lives.run(lives.enqueue())
    fold_all(pool)
    stopped = threading.Event()
    stopped.set()
    assert rebuild(pool, [JOBS], stop=stopped) == []
    with psycopg.connect(private_postgres.url) as holder, psycopg.connect(private_postgres.url, autocommit=True) as eye:
        eye.execute("update ledger.cursors set version = version - 1 where projection = 'jobs' and generation = 'live'")
        holder.execute("lock table ledger_next.jobs in share mode")
        with running(private_postgres, redis_url, "projector") as service:
            until(lambda: eye.execute(WAITING, ("ledger-projector",)).fetchone()[0] >= 1)
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(IN_TIME) == 0, service.lines
    pool.close()


def test_a_time_limit_ends_a_statement_of_a_server_that_stands_still(private_postgres: EmbeddedPostgres) -> None:
    pool = Database(private_postgres.url)

    def ask() -> None:
        deadline.start(timedelta(milliseconds=100))
        with pool.connection() as connection:
            connection.execute("select 1")

    with psycopg.connect(private_postgres.url, autocommit=True) as eye, ThreadPoolExecutor() as thread:
        with pool.connection():
            pass  # one is open
        with standing_still(eye), pytest.raises(Unavailable):
            thread.submit(ask).result(30)
    pool.close()
