"""A statement without parameters that is asked all day: prepared once a connection, and sent by libpq itself.

Asked now and then, with the caches cold, it costs a third of what the driver's own way does; that is what an idle
process costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from psycopg.errors import OperationalError, error_from_result
from psycopg.pq import DiagnosticField, ExecStatus

if TYPE_CHECKING:
    from psycopg import Connection

_UNKNOWN = b"26000"
"""invalid_sql_statement_name"""


class Question:
    """One statement. `name` is its own on every connection."""

    def __init__(self, name: str, statement: bytes) -> None:
        self._name = f"ledger_{name}".encode()
        self._statement = statement
        self._known_to: WeakSet[Connection[Any]] = WeakSet()

    def ask(self, connection: Connection[Any]) -> int:
        """Return the number it answers."""
        if connection.prepare_threshold is None:  # a pooler behind which nothing may be prepared
            row = connection.execute(self._statement).fetchone()
            assert row is not None
            return row[0]
        if connection not in self._known_to:
            self._prepare(connection)
        answer = connection.pgconn.exec_prepared(self._name, None)
        if answer.error_field(DiagnosticField.SQLSTATE) == _UNKNOWN:
            self._prepare(
                connection
            )  # the driver makes the server forget all that is prepared, after a rollback mostly
            answer = connection.pgconn.exec_prepared(self._name, None)
        _check(connection, answer, ExecStatus.TUPLES_OK)
        return int(answer.get_value(0, 0) or 0)

    def _prepare(self, connection: Connection[Any]) -> None:
        _check(connection, connection.pgconn.prepare(self._name, self._statement), ExecStatus.COMMAND_OK)
        self._known_to.add(connection)


def _check(connection: Connection[Any], answer: Any, wanted: ExecStatus) -> None:
    if answer.status != wanted:
        if connection.closed:
            raise OperationalError(answer.get_error_message())
        raise error_from_result(answer, connection.info.encoding)
