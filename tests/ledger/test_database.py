"""The pool: who asks for a connection soon learns that nobody answers, and is served when somebody does."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import psycopg
import pytest

from ledger.errors import Unavailable
from ledger.runtime.database import Database, sqlalchemy_url


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none")
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/none cannot be used"), database.connection():
        pass
    assert time.monotonic() - began < 3
    database.close()


def test_a_restart_costs_one_call_and_not_one_for_each_idle_connection(private_postgres) -> None:
    database = Database(private_postgres.url, size=3)
    gathered = threading.Barrier(3)

    def use() -> None:
        with database.connection() as connection:
            connection.execute("select 1")
            gathered.wait(timeout=10)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    private_postgres.stop()
    with pytest.raises(Unavailable), database.connection() as connection:
        connection.execute("select 1")
    with pytest.raises(Unavailable), database.connection() as connection:
        connection.execute("select 1")
    private_postgres.start()
    with database.connection() as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    database.close()


def test_a_pool_in_full_use_is_waited_for(database: str) -> None:
    pool = Database(database, size=1)
    taken, give_back = threading.Event(), threading.Event()

    def hold() -> None:
        with pool.connection():
            taken.set()
            give_back.wait(timeout=10)

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(timeout=10)
    timer = threading.Timer(0.6, give_back.set)
    timer.start()
    with pool.connection() as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    holder.join()
    pool.close()


def test_an_error_of_the_statement_is_nobody_elses(database: str) -> None:
    pool = Database(database)
    with pytest.raises(psycopg.errors.UndefinedTable), pool.connection() as connection:
        connection.execute("select * from nothing")
    with pool.connection() as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    pool.close()


FORKING = """
import os
import sys
from ledger.runtime.database import Database, sqlalchemy_url

def pid_there(database):
    with database.connection() as connection:
        return connection.execute("select pg_backend_pid()").fetchone()[0]

database = Database(sys.argv[1])
before = pid_there(database)
child = os.fork()
if child == 0:
    os._exit(0 if pid_there(database) != before else 1)
assert os.waitpid(child, 0)[1] == 0
assert pid_there(database) == before
database.close()
"""


def test_a_forked_child_has_connections_of_its_own(database: str) -> None:
    subprocess.run([sys.executable, "-c", FORKING, database], check=True, timeout=60)


def test_a_server_that_has_become_a_standby_is_away_and_left(database: str) -> None:
    pool = Database(database, size=1)
    with pool.connection() as connection:
        connection.execute("set default_transaction_read_only = on")
    with pytest.raises(Unavailable, match="read-only"), pool.connection() as connection:
        connection.execute("create table written ()")
    with pool.connection() as connection:
        connection.execute("create table written ()")
    pool.close()


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("postgres://me:pw@h:1/db", "postgresql+psycopg://me:pw@h:1/db"),
        ("postgresql://a:1,b:2/db", "postgresql+psycopg:///db?host=a:1&host=b:2"),
        ("postgresql://me@a,b:2/db?x=y", "postgresql+psycopg://me@/db?x=y&host=a&host=b:2"),
    ],
)
def test_several_hosts_are_for_sqlalchemy_too(url: str, ours: str) -> None:
    assert sqlalchemy_url(url) == ours
