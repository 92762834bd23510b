"""Connections for readers of the read models, which may not be there yet."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from psycopg.errors import UndefinedTable

from ledger.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from ledger.runtime.database import Database


@contextmanager
def reading(database: Database) -> Generator[Connection[TupleRow]]:
    """Lend a connection; raise Unavailable while nobody has built the read models."""
    try:
        with database.connection() as connection:
            yield connection
    except UndefinedTable as error:
        raise Unavailable("there are no read models yet; start `ledger projector`, which builds them") from error
