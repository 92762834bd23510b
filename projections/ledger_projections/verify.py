"""`ledger verify`: the log against its own rules, the read models against the log, and Redis against the ready jobs.

Everything about Postgres is looked at in one snapshot, so it can be done while the system runs. What is compared is
written apart from what it checks: the log's rules in SQL that shares nothing but the table of steps, the jobs and dead
letters by the pure fold in Python, the other read models by recounting. Memory is bounded by the number of ready jobs.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ledger.job import STEPS
from ledger.runtime.statements import statement
from ledger_projections import cursors, parked, shares
from ledger_projections.fresh_fold import FreshFold
from ledger_projections.projection import multirange
from ledger_projections.reading import reading
from ledger_projections.stream_check import check_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from ledger.runtime.database import Database
    from ledger_projections.projection import AnyConnection

    OnProgress = Callable[[int, int], None]

SHOWN = 1000
"""Differences kept of each check; all are counted."""

LOG_CHECKS = {
    "log: steps": statement("ledger_projections", "verify/select_broken_steps"),
    "log: ends": statement("ledger_projections", "verify/select_broken_ends"),
    "log: nonces": statement("ledger_projections", "verify/select_repeated_nonces"),
    "log: outcomes": statement("ledger_projections", "verify/select_unleased_outcomes"),
    "log: leases": statement("ledger_projections", "verify/select_open_leases"),
    "log: counts": statement("ledger_projections", "verify/select_miscounted"),
}
RECOUNTS = {
    "attempts": (
        statement("ledger_projections", "verify/select_wrong_attempts"),
        statement("ledger_projections", "verify/select_wrong_attempt_minutes"),
    ),
    "queue_stats": (
        statement("ledger_projections", "verify/select_wrong_counts"),
        statement("ledger_projections", "verify/select_wrong_minutes"),
    ),
}

_LOCK_LOG = statement("ledger_projections", "verify/lock_log")
_EVENTS = statement("ledger_projections", "verify/count_events")
_ROWS = statement("ledger_projections", "verify/count_rows")


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as the log says it should be."""

    subject: str
    """A job, `<job id>:<version>` for one event or attempt of it, or a queue."""
    expected: str
    found: str


@dataclass(slots=True)
class Check:
    """What one check has looked at and found."""

    name: str
    checked: int
    differing: int = 0
    differences: list[Difference] = field(default_factory=list[Difference])

    def add(self, differences: Iterable[Difference]) -> Check:
        for difference in differences:
            self.differing += 1
            if len(self.differences) < SHOWN:
                self.differences.append(difference)
        return self


def verify(
    database: Database,
    redis_url: str | None,
    *,
    max_crashes: int,
    on_progress: OnProgress = lambda _done, _total: None,
) -> list[Check]:
    """Check everything and return what was found, check by check; without `redis_url` Redis is left out.

    Raises Unavailable where a server is away or no read models have been built yet.
    """
    with _snapshot(database) as connection:
        events = _number(connection, _EVENTS)
        checks = list(_log_checks(connection, events, max_crashes))
        fold = FreshFold(connection, _how_far(connection, "jobs"), _how_far(connection, "dead_letters"))
        jobs, letters = Check("jobs", 0), Check("dead_letters", 0)
        for name, difference in fold.differences(lambda done: on_progress(done, events)):
            {"jobs": jobs, "dead_letters": letters}[name].add([Difference(*difference)])
        jobs.checked, letters.checked = fold.jobs, fold.dead
        checks += [jobs, letters, *_recounts(connection)]
    if redis_url is not None:
        checked, found = check_streams(database, redis_url, fold.ready, fold.streams)
        checks.append(Check("redis", checked).add(Difference(*difference) for difference in found))
    return checks


@contextmanager
def _snapshot(database: Database) -> Generator[AnyConnection]:
    with reading(database) as connection, connection.transaction():
        cursors.begin(connection)
        connection.execute(_LOCK_LOG)
        yield connection


def _log_checks(connection: AnyConnection, events: int, max_crashes: int) -> Iterable[Check]:
    parameters = {"max_crashes": max_crashes, "steps": _known_steps()}
    for name, sql in LOG_CHECKS.items():
        yield Check(name, events).add(_differences(connection, sql, parameters))


def _recounts(connection: AnyConnection) -> Iterable[Check]:
    rows = connection.execute(_ROWS).fetchone()
    assert rows is not None
    for (name, statements), checked in zip(RECOUNTS.items(), rows, strict=True):
        check = Check(name, checked)
        for sql in statements:
            check.add(_differences(connection, sql, _how_far(connection, name)))
        yield check


def _how_far(connection: AnyConnection, projection: str) -> dict[str, Any]:
    """Return which events the live read model holds."""
    live = shares.stored(connection, projection).get("live")
    return {
        "high": 0 if live is None else live.cursor.high,
        "holes": multirange(() if live is None else live.cursor.holes),
        "parked": list(parked.jobs(connection, projection, "live")),
    }


def _known_steps() -> list[str]:
    """Spell the table of steps as pairs of kinds, for the state after an event follows from its kind alone."""
    leads_to = {kind: state for kind, (_, state) in STEPS.items()}
    before = {state: [kind for kind, led in leads_to.items() if led is state] for state in leads_to.values()}
    return [
        f"{earlier}>{kind}"
        for kind, (origins, _) in STEPS.items()
        for origin in origins
        for earlier in ([""] if origin is None else before[origin])
    ]


def _differences(connection: AnyConnection, sql: bytes, parameters: dict[str, Any]) -> Iterable[Difference]:
    return (Difference(*row) for row in connection.execute(sql, parameters))


def _number(connection: AnyConnection, sql: bytes) -> int:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return row[0]
