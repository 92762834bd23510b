"""A question that is asked all day: the same answer as any other way, on every connection, and the same errors."""

from __future__ import annotations

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
        assert insertion.insert(one, "1", "\u00e9t\u00e9") == (1, 3)
        assert insertion.insert(other, "7000000000", "") == (7_000_000_000, 0)
        one.execute("deallocate all")
        assert insertion.insert(one, "2", "'; drop table words") == (2, 19)
        with pytest.raises(psycopg.errors.UniqueViolation):
            insertion.insert(one, "2", "again")
        one.prepare_threshold = None
        assert insertion.insert(one, "3", "x") == (3, 1)
        assert one.execute("select word from words order by n").fetchall()[:2] == [
            ("\u00e9t\u00e9",),
            ("'; drop table words",),
        ]
