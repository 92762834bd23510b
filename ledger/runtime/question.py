"""Statements that are sent all day: prepared once a connection, and sent by libpq itself.

A question asked now and then, with the caches cold, costs a third of what the driver's own way does; that is what an
idle process costs. A row that goes in by itself is for the driver's layers half of what it costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from psycopg import generators
from psycopg.errors import OperationalError, error_from_result
from psycopg.pq import DiagnosticField, ExecStatus

if TYPE_CHECKING:
    from psycopg import Connection

_UNKNOWN = b"26000"
"""invalid_sql_statement_name"""


class _Prepared:
    """A statement by a name that is its own on every connection."""

    def __init__(self, name: str, statement: bytes) -> None:
        self._name = f"ledger_{name}".encode()
        self._statement = statement
        self._known_to: WeakSet[Connection[Any]] = WeakSet()

    def _answer(self, connection: Connection[Any], values: Any) -> Any:
        if connection not in self._known_to:
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
        return connection.pgconn.exec_prepared(self._name, values)

    def _prepare(self, connection: Connection[Any]) -> None:
        _check(connection, connection.pgconn.prepare(self._name, self._statement), ExecStatus.COMMAND_OK)
        self._known_to.add(connection)


class Question(_Prepared):
    """One without parameters."""

    def ask(self, connection: Connection[Any]) -> int:
        """Return the number it answers."""
        if connection.prepare_threshold is None:  # a pooler behind which nothing may be prepared
            row = connection.execute(self._statement).fetchone()
            assert row is not None
            return row[0]
        return int(self._answer(connection, None).get_value(0, 0) or 0)


class Insertion(_Prepared):
    """One that takes a row and returns a few values of it. `members`: its parameters, in the order in which they are
    given.
    """

    def __init__(self, name: str, statement: bytes, *members: str) -> None:
        self._members = members
        self._unprepared = statement
        for number, member in enumerate(members, start=1):
            statement = statement.replace(b"%%(%b)s" % member.encode(), b"$%d" % number)
        super().__init__(name, statement)

    def insert(self, connection: Connection[Any], *values: str | None) -> tuple[Any, ...]:
        """Return what the statement returns, whole numbers only. Waits as the driver does: Ctrl-C ends it."""
        if connection.prepare_threshold is None:
            given = dict(zip(self._members, values, strict=True))
            row = connection.execute(self._unprepared, given).fetchone()
            assert row is not None
            return row
        answer = self._answer(connection, [None if value is None else value.encode() for value in values])
        return tuple(int(answer.get_value(0, column)) for column in range(answer.nfields))

    def _send(self, connection: Connection[Any], values: Any) -> Any:
        connection.pgconn.send_query_prepared(self._name, values)
        return connection.wait(generators.execute(connection.pgconn))[-1]


def _check(connection: Connection[Any], answer: Any, wanted: ExecStatus) -> None:
    if answer.status != wanted:
        if connection.closed:
            raise OperationalError(answer.get_error_message())
        raise error_from_result(answer, connection.info.encoding)
