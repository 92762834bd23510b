"""How costs grow: the rate of a drain with many jobs waiting, and with a snapshot held open, beside the fresh rate.

The fresh rate is taken before, in the same session, and once more in a fresh one right after: a machine that has been
under load for ten minutes is not what it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from ops.bench.figures import over_time, rate
from ops.bench.measures import queueing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ops.bench.session import Session
    from ops.bench.sizes import Sizes

Drained = tuple[float, list[tuple[float, float]]]

DRAINS = 3
"""One drain alone lasts a second or two, and says too little."""


def backlog(session: Session, sizes: Sizes) -> dict[str, Any]:
    """Drain as many jobs as the fresh system did while many more wait behind them."""
    fresh = drain(session, sizes.drained)
    count = max(sizes.backlog, DRAINS * sizes.drained * 2)
    first = session.numbers(count)
    session.produce("bulk", first, count=count, chunk=sizes.chunk)
    session.await_caught_up()
    return told("backlog", fresh, _middle(_first_of(session, first, count, sizes.drained) for _ in range(DRAINS)))


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
    """Enqueue in bulk, let the read models catch up, and drain, three times; return the middle one."""
    return _middle(_drain(session, count) for _ in range(DRAINS))


def _drain(session: Session, count: int) -> Drained:
    """Return the handlers' rate, and the rate over time."""
    first = session.numbers(count)
    session.produce("bulk", first, count=count, chunk=5_000)
    session.await_caught_up()
    session.start_worker()
    session.await_started(first, count)
    session.await_caught_up()
    session.stop_worker()
    times = session.started.times(first, count)
    return rate(times), over_time(times)


def _first_of(session: Session, first: int, count: int, wanted: int) -> Drained:
    """Let the worker run about so many of the jobs that wait, which come in their order, and stop it again.

    But for a few: those that it held when it was stopped the last time went to the end. So it is given twice as many to
    choose from.
    """
    first += count - session.started.missing(first, count)
    choice = 2 * wanted
    session.start_worker()
    session.await_some(first, choice, wanted)
    session.stop_worker()
    session.await_caught_up()
    times = sorted(time for time in session.started.times(first, choice) if time)[:wanted]
    return rate(times), over_time(times)


def _middle(drained: Iterable[Drained]) -> Drained:
    return sorted(drained)[DRAINS // 2]


def told(name: str, fresh: Drained, then: Drained) -> dict[str, Any]:
    """Return both rates, and their course for the plot."""
    return {
        f"{name}_fresh_before_per_s": fresh[0],
        f"{name}_per_s": then[0],
        "series": {"growth_fresh": fresh[1], f"growth_{name}": then[1]},
    }


def beside(name: str, figures: dict[str, Any], again: Drained) -> dict[str, Any]:
    """Return the figures with the ratio to the fresh rate: the mean of the one before and the one after."""
    fresh = (figures[f"{name}_fresh_before_per_s"] + again[0]) / 2
    return figures | {
        f"{name}_fresh_after_per_s": again[0],
        f"{name}_fresh_per_s": fresh,
        f"{name}_ratio": figures[f"{name}_per_s"] / fresh,
    }
