"""A connection for reading the read models, which are made by the first projector and not by migrations."""

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
    """Lend a connection; raise Unavailable where there are no read models yet."""
    try:
        with database.connection() as connection:
            yield connection
    except UndefinedTable as error:
        raise Unavailable("there are no read models yet; start `ledger projector`, which builds them") from error
