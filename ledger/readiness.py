"""Readiness: whether the servers a process needs can be used, asked on connections of its own.

Postgres and its schema are required. Redis is reported: without it jobs are still taken, and dispatched when it is
back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.errors import Unavailable
from ledger.runtime import redis
from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.runtime.database import Database
    from ledger.runtime.probes import Checks

OK, UNAVAILABLE, UNKNOWN, PENDING = "ok", "unavailable", "unknown", "pending"

_PATIENCE = 0.5
"""Seconds to wait for Redis: it is only reported, and whoever probes does not wait for long."""

_IS_MIGRATED = statement("ledger", "readiness/select_is_migrated")
_SCHEMA_VERSION = statement("ledger", "readiness/select_schema_version")


class Readiness:
    """Asks one installation's servers; a probe must not wait behind a busy pool."""

    def __init__(self, database: Database, redis_url: str, newest_schema: Callable[[], str]) -> None:
        self._database = database
        self._redis_url = redis_url
        self._newest_schema = newest_schema
        """The migrations are another room's, and slow to load."""

    def checks(self) -> dict[str, str]:
        return {**self._check_postgres(), "redis": self._check_redis()}

    def _check_postgres(self) -> dict[str, str]:
        try:
            with self._database.dedicated() as connection:
                there = connection.execute(_IS_MIGRATED).fetchone() == (True,)
                schema = connection.execute(_SCHEMA_VERSION).fetchone() if there else None
        except Unavailable:
            return {"postgres": UNAVAILABLE, "migrations": UNKNOWN}
        is_new = schema is not None and schema[0] >= self._newest_schema()
        return {"postgres": OK, "migrations": OK if is_new else PENDING}

    def _check_redis(self) -> str:
        try:
            with redis.connect(self._redis_url, patience=_PATIENCE, name="ledger-probe") as client:
                client.ping()
        except (Unavailable, *redis.TRANSIENT):
            return UNAVAILABLE
        return OK


def is_ready(checks: Checks) -> bool:
    return (checks["postgres"], checks["migrations"]) == (OK, OK)
