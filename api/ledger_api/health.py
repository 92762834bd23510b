"""Probes: alive depends on nothing outside the process, ready on Postgres and its schema.

Redis is reported, not required: without it jobs are still taken, and dispatched when it is back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.errors import Unavailable
from ledger.resources import dumps
from ledger.runtime import redis
from ledger.runtime.statements import statement
from ledger_api.problems import RETRY_AFTER, Problem

if TYPE_CHECKING:
    import falcon

    from ledger import Ledger

OK, UNAVAILABLE, UNKNOWN = "ok", "unavailable", "unknown"
_IS_MIGRATED = statement("ledger_api", "select_is_migrated")
_SCHEMA_VERSION = statement("ledger_api", "select_schema_version")

Checks = dict[str, str]


class Alive:
    """`/health`, `/livez`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        del req
        resp.data = b'{"status":"ok"}'


class Ready:
    """`/ready`, `/readyz`."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        del req
        resp.data = dumps({"status": "ready", "checks": self._readiness.require()})


class Started:
    """`/startupz`: once this process has been ready, it has started, for good."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        del req
        if not self._readiness.was_ready:
            self._readiness.require()
        resp.data = b'{"status":"started"}'


class Readiness:
    """Asks the servers, on connections of its own: a probe must not wait behind a busy pool."""

    def __init__(self, ledger: Ledger, newest_schema: str) -> None:
        self._ledger, self._newest_schema = ledger, newest_schema
        self.was_ready = False

    def require(self) -> Checks:
        """Return what was found; raise a Problem unless this process can serve."""
        checks = self.checks()
        if (checks["postgres"], checks["migrations"]) != (OK, OK):
            raise Problem("unavailable", _detail(checks), headers=RETRY_AFTER, members={"checks": checks})
        self.was_ready = True
        return checks

    def checks(self) -> Checks:
        return {**self._check_postgres(), "redis": self._check_redis()}

    def _check_postgres(self) -> Checks:
        try:
            with self._ledger.database.dedicated() as connection:
                there = connection.execute(_IS_MIGRATED).fetchone() == (True,)
                schema = connection.execute(_SCHEMA_VERSION).fetchone() if there else None
        except Unavailable:
            return {"postgres": UNAVAILABLE, "migrations": UNKNOWN}
        return {"postgres": OK, "migrations": OK if schema and schema[0] >= self._newest_schema else "pending"}

    def _check_redis(self) -> str:
        try:
            client = redis.connect(self._ledger.redis_url, name="ledger-probe")
            with client:
                client.ping()
        except (Unavailable, *redis.TRANSIENT):
            return UNAVAILABLE
        return OK


def _detail(checks: Checks) -> str:
    if checks["postgres"] != OK:
        return "Postgres cannot be used"
    return "the database is not up to date; run `ledger db migrate`"
