"""A caller's own connection, whatever it came wrapped in: our statements on it, in the transaction it is in.

Accepted: a psycopg connection, SQLAlchemy's Connection and Session on psycopg 3 (also those that `run_sync` hands out),
and Django's. Which one it is shows in what it offers, so neither SQLAlchemy nor Django need be imported here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import TupleRow, tuple_row

from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
    from datetime import timedelta

    from ledger.runtime.database import Database
    from ledger.runtime.statements import Executes

_LIMIT_WAIT = statement("ledger", "limit_lock_wait")


class PlainCursor(psycopg.Cursor[TupleRow]):
    """A cursor that knows nothing of the caller's: neither row factory, nor client-side binding, nor types."""

    @property
    def adapters(self) -> Any:
        return psycopg.adapters


class PlainAsyncCursor(psycopg.AsyncCursor[TupleRow]):
    """The same for an asynchronous connection."""

    @property
    def adapters(self) -> Any:
        return psycopg.adapters


class Rows:
    """What a statement returned, already here."""

    def __init__(self, rows: Sequence[TupleRow]) -> None:
        self._rows = rows

    def fetchall(self) -> Sequence[TupleRow]:
        return self._rows

    def fetchone(self) -> TupleRow | None:
        return self._rows[0] if self._rows else None


class Borrowed:
    """A caller's psycopg connection, on which our statements mean what they mean on ours."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, query: bytes, params: Mapping[str, Any] | None = None, *, binary: bool = False) -> Rows:
        with PlainCursor(self._connection, row_factory=tuple_row) as cursor:
            cursor.execute(query, params, binary=binary)
            return Rows(cursor.fetchall())


class BorrowedByGreenlet:
    """SQLAlchemy's asynchronous connection inside `run_sync`, where it looks synchronous."""

    def __init__(self, run_async: Callable[[Callable[[Any], Awaitable[Rows]]], Rows]) -> None:
        self._run_async = run_async

    def execute(self, query: bytes, params: Mapping[str, Any] | None = None, *, binary: bool = False) -> Rows:
        return self._run_async(lambda inner: execute_on(inner, query, params, binary=binary))


async def execute_on(
    connection: psycopg.AsyncConnection[Any], query: bytes, params: Mapping[str, Any] | None, *, binary: bool
) -> Rows:
    """Run one of our statements on a caller's asynchronous connection."""
    async with PlainAsyncCursor(connection, row_factory=tuple_row) as cursor:
        await cursor.execute(query, params, binary=binary)
        return Rows(await cursor.fetchall())


class Lent(ABC):
    """A caller's connection that somebody brings on in a form of its own, as `ledger.aio` does."""

    @abstractmethod
    def execute(self, query: bytes, params: Mapping[str, Any] | None = None, *, binary: bool = False) -> Rows: ...


def caller_connection(connection: Any) -> Executes:
    """Return what runs our statements in the caller's transaction; raise TypeError for what is no such connection."""
    if isinstance(connection, Lent):
        return connection
    if isinstance(connection, psycopg.Connection):
        return Borrowed(connection)
    if callable(getattr(connection, "ensure_connection", None)):
        connection.ensure_connection()  # Django's, which is not connected before it is used
        inner = connection.connection
    else:
        connection = of_session(connection)
        inner = getattr(getattr(connection, "connection", None), "driver_connection", None)
    if isinstance(inner, psycopg.Connection):
        _begin(connection)
        return Borrowed(inner)
    if isinstance(inner, psycopg.AsyncConnection) and not hasattr(connection, "run_sync"):
        _begin(connection)
        return BorrowedByGreenlet(connection.connection.run_async)
    raise refusal(connection)


def of_session(connection: Any) -> Any:
    """Return the connection of SQLAlchemy's Session, which begins its transaction with this; others as they are."""
    is_session = hasattr(connection, "get_bind") and callable(getattr(connection, "connection", None))
    return connection.connection() if is_session else connection


def refusal(connection: Any) -> TypeError:
    """Return the error for a `connection=` that cannot be joined."""
    kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
    return TypeError(
        f"connection= takes a psycopg connection, a SQLAlchemy Connection or Session on postgresql+psycopg, or "
        f"Django's connection; the await twins take psycopg's AsyncConnection and SQLAlchemy's AsyncConnection and "
        f"AsyncSession; not {kind}"
    )


def _begin(connection: Any) -> None:
    # What goes straight to the driver is not seen by SQLAlchemy: without this it would think that there is no
    # transaction, and its commit would do nothing.
    if hasattr(connection, "in_transaction") and not connection.in_transaction():
        connection.begin()


@contextmanager
def joined(database: Database, connection: Any, lock_wait: timedelta) -> Generator[Executes]:
    """Work in the caller's transaction and leave it open; without one, in a transaction of our own.

    Ours waits `lock_wait` at most for somebody else's row; a caller's own limits are not touched.
    """
    if connection is not None:
        yield caller_connection(connection)
        return
    with database.connection() as own, own.transaction():
        own.execute(_LIMIT_WAIT, {"lock_timeout": f"{int(lock_wait.total_seconds() * 1000)}ms"})
        yield own
