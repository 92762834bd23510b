"""Statements that are sent all day: the same answers as any other way, on every connection, and the same errors."""

from __future__ import annotations

import os
import signal
import threading
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from ledger.runtime.prepared import Prepared, Question


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


def test_a_prepared_statement_takes_values_on_every_connection_and_again(database):
    statement = b"insert into words (n, word) values (%(n)s, %(word)s) returning n, length(word), nullif(word, '')"
    with psycopg.connect(database, autocommit=True) as one, psycopg.connect(database, autocommit=True) as other:
        one.execute("create table words (n bigint primary key, word text)")
        words = Prepared("words", statement, "n", "word")

        def taken(connection: psycopg.Connection[Any], n: bytes, word: str) -> tuple[int, int, str | None]:
            [row] = words.rows(connection, n, word.encode())
            return row

        ete = "\u00e9t\u00e9"
        assert taken(one, b"1", ete) == (1, 3, ete)
        assert taken(other, b"7000000000", "") == (7_000_000_000, 0, None)
        one.execute("deallocate all")
        assert taken(one, b"-2", "'; drop table words") == (-2, 19, "'; drop table words")
        with pytest.raises(psycopg.errors.UniqueViolation):
            taken(one, b"-2", "again")
        one.prepare_threshold = None
        assert taken(one, b"3", "x") == (3, 1, "x")
        assert [n for (n,) in one.execute("select n from words order by n")] == [-2, 1, 3, 7_000_000_000]


def test_a_commit_that_fails_is_no_success(database):
    """Without a transaction around it the rows come before the commit."""
    numbers = Prepared("numbers", b"insert into numbers values (%(n)s, 99) returning n", "n")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "create table numbers (n int primary key, next int references numbers deferrable initially deferred)"
        )
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            numbers.rows(connection, b"1")
        assert numbers.rows(connection, b"99") == [(99,)]
        assert connection.execute("select n from numbers").fetchall() == [(99,)]


def test_times_and_numbers_come_out_as_they_went_in(database):
    given = Prepared("given", b"select %(n)s::smallint, %(at)s::timestamptz", "n", "at")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("set timezone to 'Asia/Kathmandu'")
        for at in (datetime(1969, 7, 20, 20, 17, 40, 1, UTC), datetime(2026, 11, 24, 6, 0, 0, 999_999, UTC)):
            assert given.rows(connection, b"-7", at.isoformat().encode()) == [(-7, at)]


def test_it_takes_and_gives_more_than_a_socket_does(database):
    letters = Prepared("letters", b"select %(letters)s::text from generate_series(1, 3)", "letters")
    with psycopg.connect(database, autocommit=True) as connection:
        assert letters.rows(connection, b"x" * 20_000_000) == [("x" * 20_000_000,)] * 3


def test_ctrl_c_ends_a_statement_that_waits(database):
    # A shell that starts this in the background lets it ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    words = Prepared("word", b"insert into words values (%(word)s) returning word", "word")
    with psycopg.connect(database, autocommit=True) as one, psycopg.connect(database, autocommit=True) as other:
        one.execute("create table words (word text)")
        assert words.rows(one, b"first") == [("first",)]

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
                words.rows(one, b"second")
            thread.join()
        assert one.closed
        gone = "select from pg_stat_activity where pid = %s"
        while other.execute(gone, [pid]).fetchone() is not None:
            pass
        assert other.execute("select word from words").fetchall() == [("first",)]
    signal.signal(signal.SIGINT, before)


def test_a_question_may_be_answered_by_several_numbers(database):
    question = Question("several", b"select 1.5::float8, null, -2::bigint")
    with psycopg.connect(database, autocommit=True) as connection:
        assert question.ask_all(connection) == [1.5, None, -2]
