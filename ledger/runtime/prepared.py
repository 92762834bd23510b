"""Statements that are sent all day: prepared once a connection, and sent by libpq itself.

A question asked now and then, with the caches cold, costs a third of what the driver's own way does; that is what an
idle process costs. An event that goes in by itself, or a lease of one job, is for the driver's layers a third of what
it costs.
"""

from __future__ import annotations

import select
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import OperationalError, error_from_result
from psycopg.pq import DiagnosticField, ExecStatus, Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Connection

_UNKNOWN = b"26000"
"""invalid_sql_statement_name"""
_CANCEL_WAIT = 5.0


class _Known:
    """A statement by a name that is its own on every connection. `members`: its parameters, in the order in which they
    are given.
    """

    def __init__(self, name: str, statement: bytes, *members: str) -> None:
        for number, member in enumerate(members, start=1):
            statement = statement.replace(b"%%(%b)s" % member.encode(), b"$%d" % number)
        # With what it says in the name: behind a pooler another version's may be there already.
        self._name = f"ledger_{name}_{zlib.crc32(statement):08x}".encode()
        self._statement = statement
        self._known_to: WeakSet[Connection[Any]] = WeakSet()

    def _answer(self, connection: Connection[Any], values: Any) -> Any:
        # Behind some poolers nothing may be prepared.
        if connection.prepare_threshold is not None and connection not in self._known_to:
            self._prepare(connection)
        answer = self._send(connection, values)
        if answer.status != ExecStatus.TUPLES_OK:
            if answer.error_field(DiagnosticField.SQLSTATE) == _UNKNOWN:
                # The driver makes the server forget all that is prepared, after a rollback mostly.
                self._prepare(connection)
                answer = self._send(connection, values)
            _check(connection, answer, ExecStatus.TUPLES_OK)
        return answer

    def _send(self, connection: Connection[Any], values: Any) -> Any:
        if connection.prepare_threshold is None:
            return connection.pgconn.exec_params(self._statement, values)
        return connection.pgconn.exec_prepared(self._name, values)

    def _prepare(self, connection: Connection[Any]) -> None:
        _check(connection, connection.pgconn.prepare(self._name, self._statement), ExecStatus.COMMAND_OK)
        self._known_to.add(connection)


class Question(_Known):
    """One that is answered by a row of numbers."""

    def ask(self, connection: Connection[Any], *values: bytes) -> int:
        """Return the first, a whole one."""
        return int(self._answer(connection, values).get_value(0, 0) or 0)

    def ask_all(self, connection: Connection[Any], *values: bytes) -> list[float | None]:
        """Return all of them."""
        answer = self._answer(connection, values)
        texts = (answer.get_value(0, n) for n in range(answer.nfields))
        return [None if text is None else float(text) for text in texts]


class Prepared(_Known):
    """One that takes values as text and returns rows."""

    def rows(self, connection: Connection[Any], *values: bytes | None) -> list[tuple[Any, ...]]:
        """Return what the statement returns, as the driver makes it of Postgres' binary form.

        Not for connections in a transaction: a statement that the server was made to forget would end it. Waits so that
        Ctrl-C ends it, and what is under way with it.
        """
        answer = self._answer(connection, values)
        loading = Transformer(connection)
        loading.set_pgresult(answer)
        return loading.load_rows(0, answer.ntuples, tuple)

    def _send(self, connection: Connection[Any], values: Sequence[bytes | None]) -> Any:
        pgconn = connection.pgconn
        try:
            if connection.prepare_threshold is None:
                pgconn.send_query_params(self._statement, values, result_format=Format.BINARY)
            else:
                pgconn.send_query_prepared(self._name, values, result_format=Format.BINARY)
            answer = _next(pgconn)
            while (further := _next(pgconn)) is not None:
                answer = further  # the commit comes after the rows, and may fail
        except BaseException:
            with suppress(psycopg.Error):
                if not connection.closed:
                    connection.cancel_safe(timeout=_CANCEL_WAIT)
            connection.close()
            raise
        return answer


def _next(pgconn: Any) -> Any:
    """Return the next result, None at the end."""
    while (unsent := pgconn.flush()) or pgconn.is_busy():
        line = select.poll()
        line.register(pgconn.socket, select.POLLIN | select.POLLOUT if unsent else select.POLLIN)
        line.poll()
        pgconn.consume_input()
    return pgconn.get_result()


def _check(connection: Connection[Any], answer: Any, wanted: ExecStatus) -> None:
    if answer.status != wanted:
        if connection.closed:
            raise OperationalError(answer.get_error_message())
        raise error_from_result(answer, connection.info.encoding)
