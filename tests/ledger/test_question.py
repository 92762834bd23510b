"""A question that is asked all day: the same answer as any other way, on every connection, and the same errors."""

from __future__ import annotations

import os
import signal
import threading

import psycopg
import pytest

from ledger.runtime.question import Insertion, Question


def test_it_answers_on_every_connection_and_again(database):
    question = Question("numbers", b"select coalesce(max(n), 0) from numbers")
    with psycopg.connect(database, autocommit=True) as one, psycopg.connect(database, autocommit=True) as other:
        one.execute("create table numbers (n bigint)")
        assert [question.ask(each) for each in (one, other, one)] == [0, 0, 0]
        one.execute("insert into numbers values (7000000000)")
        assert [question.ask(each) for each in (other, one)] == [7_000_000_000] * 2


def test_it_prepares_anew_what_the_server_was_made_to_forget(database):
    question = Question("seven", b"select 7")
    with psycopg.connect(database, autocommit=True) as connection:
        assert question.ask(connection) == 7
        connection.execute("deallocate all")
        assert question.ask(connection) == 7
        for _ in range(10):
            connection.execute("select 1 + %s", [1])  # often enough to be prepared by the driver
        connection.execute("begin")
        connection.rollback()
        assert [question.ask(connection) for _ in range(2)] == [7, 7]


def test_it_asks_without_preparing_where_nothing_may_be_prepared(database):
    with psycopg.connect(database, autocommit=True, prepare_threshold=None) as connection:
        assert Question("seven", b"select 7").ask(connection) == 7
        assert connection.execute("select count(*) from pg_prepared_statements").fetchone() == (0,)


def test_what_goes_wrong_is_told_as_the_driver_tells_it(database):
    with psycopg.connect(database, autocommit=True) as connection, psycopg.connect(database, autocommit=True) as killer:
        with pytest.raises(psycopg.errors.DivisionByZero):
            Question("nonsense", b"select 1 / 0").ask(connection)
        question = Question("seven", b"select 7")
        assert question.ask(connection) == 7
        killer.execute("select pg_terminate_backend(%s)", (connection.info.backend_pid,))
        for _ in range(2):
            with pytest.raises(psycopg.OperationalError):
                question.ask(connection)
        assert connection.closed


def test_an_insertion_takes_a_row_on_every_connection_and_again(database):
    statement = b"insert into words (n, word) values (%(n)s, %(word)s) returning n, length(word)"
    with psycopg.connect(database, autocommit=True) as one, psycopg.connect(database, autocommit=True) as other:
        one.execute("create table words (n bigint primary key, word text)")
        insertion = Insertion("words", statement, "n", "word")
        assert insertion.insert(one, b"1", "\u00e9t\u00e9".encode()) == (1, 3)
        assert insertion.insert(other, b"7000000000", b"") == (7_000_000_000, 0)
        one.execute("deallocate all")
        assert insertion.insert(one, b"2", b"'; drop table words") == (2, 19)
        with pytest.raises(psycopg.errors.UniqueViolation):
            insertion.insert(one, b"2", b"again")
        one.prepare_threshold = None
        assert insertion.insert(one, b"3", b"x") == (3, 1)
        assert one.execute("select word from words order by n").fetchall()[:2] == [
            ("\u00e9t\u00e9",),
            ("'; drop table words",),
        ]


def test_an_insertion_takes_more_than_a_socket_does(database):
    insertion = Insertion("letters", b"select length(%(letters)s::text)", "letters")
    with psycopg.connect(database, autocommit=True) as connection:
        assert insertion.insert(connection, b"x" * 20_000_000) == (20_000_000,)


def test_ctrl_c_ends_an_insertion_that_waits(database):
    insertion = Insertion("word", b"insert into words values (%(word)s) returning 1", "word")
    with psycopg.connect(database, autocommit=True) as one, psycopg.connect(database, autocommit=True) as other:
        one.execute("create table words (word text)")
        assert insertion.insert(one, b"first") == (1,)

        def interrupt() -> None:
            waits = "select from pg_locks where pid = %s and not granted"
            while other.execute(waits, [pid]).fetchone() is None:
                pass
            os.kill(os.getpid(), signal.SIGINT)

        pid = one.info.backend_pid
        with other.transaction():
            other.execute("lock table words")
            thread = threading.Thread(target=interrupt)
            thread.start()
            with pytest.raises(KeyboardInterrupt):
                insertion.insert(one, b"second")
            thread.join()
        assert one.closed
        gone = "select from pg_stat_activity where pid = %s"
        while other.execute(gone, [pid]).fetchone() is not None:
            pass
        assert other.execute("select word from words").fetchall() == [("first",)]
