"""A question that is asked all day: the same answer as any other way, on every connection, and the same errors."""

from __future__ import annotations

import psycopg
import pytest

from ledger.runtime.question import Question


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
