"""What only Ledger has: read models that must have caught up, and outcomes that must be on record."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg

from ledger.cli_output import Failure
from ledger.runtime.statements import statement
from ops.bench import servers as servers_

if TYPE_CHECKING:
    from collections.abc import Callable

    from ops.bench.servers import Servers

    Watch = Callable[[float], None]

LIMIT = 1800.0
"""Seconds that read models may take after millions of events."""
_BEHIND = statement("ops.bench", "select_behind")
_RECORDED = statement("ops.bench", "select_recorded")
PROJECTIONS = 5


def await_ready(servers: Servers, watch: Watch) -> None:
    """Wait until every read model is there."""
    _await(servers, watch, 60.0, lambda standing: standing[0] >= PROJECTIONS, "the projector did not become ready")


def await_caught_up(servers: Servers, watch: Watch) -> None:
    """Wait until every projection has read the last event there was when this began."""
    last: list[int] = []

    def reached(standing: tuple[int, int, int]) -> bool:
        last.append(standing[2])
        return standing[0] >= PROJECTIONS and standing[1] >= last[0]

    _await(servers, watch, LIMIT, reached, "the read models do not catch up")


def await_recorded(servers: Servers, count: int, watch: Watch) -> int:
    """Wait until so many jobs have succeeded on record; return when the last did, by our monotonic clock."""
    deadline = time.monotonic() + 60
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        offset = servers_.clock_offset(connection)
        while True:
            row = connection.execute(_RECORDED).fetchone()
            assert row is not None
            if row[0] >= count:
                return row[1] * 1000 - offset
            if time.monotonic() > deadline:
                raise Failure(f"{row[0]:,} of {count:,} successes are on record, and no more come")
            watch(0.05)


def _await(servers: Servers, watch: Watch, limit: float, reached: Callable[[Any], bool], complaint: str) -> None:
    deadline = time.monotonic() + limit
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        while True:
            with suppress(psycopg.errors.UndefinedTable):
                if reached(connection.execute(_BEHIND).fetchone()):
                    return
            if time.monotonic() > deadline:
                raise Failure(complaint)
            watch(0.02)


def recorded(servers: Servers) -> int:
    """Say how many jobs have succeeded on record."""
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        row = connection.execute(_RECORDED).fetchone()
    assert row is not None
    return row[0]
