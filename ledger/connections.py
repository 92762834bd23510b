"""A caller's own connection, whatever it came wrapped in: the psycopg connection inside, in the transaction it is in.

Accepted: a psycopg connection, and SQLAlchemy's Connection and Session on psycopg 3. Which one it is shows in what it
offers, so SQLAlchemy need not be imported here.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import timedelta

    from ledger.runtime.database import Database

_LIMIT_WAIT = statement("ledger", "limit_lock_wait")


def caller_connection(connection: Any) -> psycopg.Connection[Any]:
    """Return the psycopg connection that carries the caller's transaction; raise TypeError for anything else."""
    if isinstance(connection, psycopg.Connection):
        return connection
    if hasattr(connection, "get_bind") and callable(getattr(connection, "connection", None)):
        connection = connection.connection()  # SQLAlchemy's Session, which begins its transaction with this
    inner = getattr(getattr(connection, "connection", None), "driver_connection", None)
    if isinstance(inner, psycopg.Connection):
        _begin(connection)
        return inner
    raise TypeError(
        f"connection= takes a psycopg connection, or a SQLAlchemy Connection or Session on postgresql+psycopg, "
        f"not {type(connection).__name__}"
    )


def _begin(connection: Any) -> None:
    # What goes straight to the driver is not seen by SQLAlchemy: without this it would think that there is no
    # transaction, and its commit would do nothing.
    if not connection.in_transaction():
        connection.begin()


@contextmanager
def joined(database: Database, connection: Any, lock_wait: timedelta) -> Generator[psycopg.Connection[Any]]:
    """Work in the caller's transaction and leave it open; without one, in a transaction of our own.

    Ours waits `lock_wait` at most for somebody else's row; a caller's own limits are not touched.
    """
    if connection is not None:
        yield caller_connection(connection)
        return
    with database.connection() as own, own.transaction():
        own.execute(_LIMIT_WAIT, {"lock_timeout": f"{int(lock_wait.total_seconds() * 1000)}ms"})
        yield own
