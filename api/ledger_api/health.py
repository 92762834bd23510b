"""Probes: alive depends on nothing outside the process, ready on Postgres and its schema.

Redis is reported, not required: without it jobs are still taken, and dispatched when it is back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger import readiness
from ledger.readiness import is_ready
from ledger.resources import dumps
from ledger_api import schemas
from ledger_api.openapi.operation import Answer, operation
from ledger_api.problems import RETRY_AFTER, Problem

if TYPE_CHECKING:
    import falcon

    from ledger import Ledger

OK, UNAVAILABLE, UNKNOWN = readiness.OK, readiness.UNAVAILABLE, readiness.UNKNOWN

Checks = dict[str, str]


class Alive:
    """`/health`, `/livez`."""

    @operation(
        "probe{}",
        "Say that the process answers; nothing outside it is asked.",
        tag="probes",
        answers={200: Answer(schemas.Alive, "It does.")},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        del req
        resp.data = b'{"status":"ok"}'


class Ready:
    """`/ready`, `/readyz`."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    @operation(
        "probe{}",
        "Say whether requests can be served: Postgres is there and up to date.",
        tag="probes",
        answers={200: Answer(schemas.Ready, "They can. Redis may be unavailable.")},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        del req
        resp.data = dumps({"status": "ready", "checks": self._readiness.require()})


class Started:
    """`/startupz`: once this process has been ready, it has started, for good."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    @operation(
        "probe{}",
        "Say whether the process has been ready once.",
        tag="probes",
        answers={200: Answer(schemas.Started, "It has.")},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        del req
        if not self._readiness.was_ready:
            self._readiness.require()
        resp.data = b'{"status":"started"}'


class Readiness:
    """Whether this process can serve, and whether it ever could."""

    def __init__(self, ledger: Ledger, newest_schema: str) -> None:
        self._ledger, self._newest_schema = ledger, newest_schema
        self.was_ready = False

    def require(self) -> Checks:
        """Return what was found; raise a Problem unless this process can serve."""
        checks = self.checks()
        if not is_ready(checks):
            raise Problem("unavailable", _detail(checks), headers=RETRY_AFTER, members={"checks": checks})
        self.was_ready = True
        return checks

    def checks(self) -> Checks:
        ledger = self._ledger
        return readiness.Readiness(ledger.database, ledger.redis_url, lambda: self._newest_schema).checks()


def _detail(checks: Checks) -> str:
    if checks["postgres"] != OK:
        return "Postgres cannot be used"
    return "the database is not up to date; run `ledger db migrate`"
