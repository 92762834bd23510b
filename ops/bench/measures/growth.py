"""How costs grow: the rate of a drain with many jobs waiting, and with a snapshot held open, beside the fresh rate.

Each takes the fresh rate in the same session, just before.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psycopg

from ledger.cli_output import Failure
from ops.bench.figures import over_time, rate
from ops.bench.measures import queueing
from ops.bench.session import STALL

if TYPE_CHECKING:
    from ops.bench.session import Session
    from ops.bench.sizes import Sizes

Drained = tuple[float, list[tuple[float, float]]]


def backlog(session: Session, sizes: Sizes) -> dict[str, Any]:
    """Drain as many jobs as the fresh system did while many more wait behind them."""
    fresh, before = drain(session, sizes.drained)
    count = max(sizes.backlog, sizes.drained)
    first = session.numbers(count)
    session.produce("bulk", first, count=count, chunk=sizes.chunk)
    session.await_caught_up()
    session.start_worker()
    times = _first_started(session, first, count, sizes.drained)
    session.stop_worker()
    return told("backlog", (fresh, before), (rate(times), over_time(times)))


def snapshot(session: Session, sizes: Sizes) -> dict[str, Any]:
    """Drain after a snapshot has been held open for long, with jobs coming and going all the while."""
    fresh = drain(session, sizes.drained)
    with psycopg.connect(session.servers.database_url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("select pg_current_snapshot()")
        session.warm_worker()
        under = queueing.steady(session, sizes, sizes.snapshot_seconds)
        session.stop_worker()
        then = drain(session, sizes.drained)
    figures = told("snapshot", fresh, then)
    figures["series"]["snapshot_steady"] = under["series"]["steady"]
    return figures | {"snapshot_steady_per_s": under["steady_per_s"]}


def drain(session: Session, count: int) -> Drained:
    """Enqueue in bulk, let the read models catch up, and drain; return the handlers' rate, and the rate over time."""
    first = session.numbers(count)
    session.produce("bulk", first, count=count, chunk=5_000)
    session.await_caught_up()
    session.start_worker()
    session.await_started(first, count)
    session.await_caught_up()
    session.stop_worker()
    times = session.started.times(first, count)
    return rate(times), over_time(times)


def told(name: str, fresh: Drained, then: Drained) -> dict[str, Any]:
    """Return both rates, their ratio, and their course for the plot."""
    return {
        f"{name}_fresh_per_s": fresh[0],
        f"{name}_per_s": then[0],
        f"{name}_ratio": then[0] / fresh[0],
        "series": {"growth_fresh": fresh[1], f"growth_{name}": then[1]},
    }


def _first_started(session: Session, first: int, count: int, wanted: int) -> list[int]:
    """Wait until so many of these jobs have started, whichever, and return when."""
    most, moved = count, time.monotonic()
    while (missing := session.started.missing(first, count)) > count - wanted:
        session.watch(0.05)
        if missing < most:
            most, moved = missing, time.monotonic()
        if time.monotonic() - moved > STALL:
            raise Failure(f"no job has started for {STALL:g} s; {count - missing:,} of {wanted:,} have")
    return sorted(at for at in session.started.times(first, count) if at)[:wanted]
