"""A connection to a database that may not be ready: not migrated yet, or without the read models a projector makes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from psycopg.errors import InvalidSchemaName, UndefinedFunction, UndefinedTable

from ledger.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from ledger.runtime.database import Database


@contextmanager
def reading(database: Database) -> Generator[Connection[TupleRow]]:
    """Lend a connection; raise Unavailable where what is asked for has not been made yet."""
    try:
        with database.connection() as connection:
            yield connection
    except UndefinedTable as error:
        raise Unavailable("there are no read models yet; start `ledger projector`, which builds them") from error
    except (InvalidSchemaName, UndefinedFunction) as error:
        raise Unavailable("the database is not migrated; run `ledger db migrate`") from error
