"""Bringing a database to the newest schema, once, whoever asks and however many do.

All of it is one transaction under an advisory lock: a second migrator waits, then finds nothing left to do, and one
that dies in the middle leaves nothing behind.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, pool, text

from ledger.runtime.database import reachable, sqlalchemy_url
from ledger.runtime.statements import statement
from ledger_migrations.revisions import newest

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

SCHEMA = "ledger"
_HERE = Path(__file__).parent


def migrate(url: str) -> tuple[str | None, str]:
    """Migrate to the newest revision and return (before, now); raise Unavailable if nobody answers."""
    engine = _engine(url)
    with reachable(url), engine.begin() as connection:
        connection.execute(text(statement("ledger_migrations", "prepare").decode()))
        before = _current(connection)
        command.upgrade(_config(connection), "head")
        return before, newest()


def status(url: str) -> tuple[str | None, str]:
    """Return (the database's revision or None, the newest revision) without changing anything."""
    engine = _engine(url)
    with reachable(url), engine.connect() as connection:
        return _current(connection), newest()


def _engine(url: str) -> Engine:
    return create_engine(sqlalchemy_url(url), poolclass=pool.NullPool)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.attributes["connection"] = connection
    return config


def _current(connection: Connection) -> str | None:
    options = {"version_table": "schema_version", "version_table_schema": SCHEMA}
    return MigrationContext.configure(connection, opts=options).get_current_revision()
