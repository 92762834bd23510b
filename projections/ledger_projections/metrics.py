"""What a projector tells Prometheus: how far each projection is, and what dispatch has put back into Redis.

How far is asked of Postgres at the scrape, so the projector that stands by gives the same answer as the active one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from ledger.errors import Unavailable
from ledger.runtime.statements import statement
from ledger_projections.reading import reading

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from ledger.runtime.database import Database
    from ledger_projections.dispatch import Dispatcher
    from ledger_projections.queries import Queries

_HOLES = statement("ledger_projections", "metrics/select_holes")
_LABELS = ("projection",)


class Progress(Collector):
    """None of it while Postgres is away, for a scrape must not fail because of it."""

    def __init__(self, database: Database, queries: Queries) -> None:
        self._database = database
        self._queries = queries

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        try:
            return (*self._lag(), self._holes())
        except Unavailable:
            return ()

    def _lag(self) -> Iterable[Metric]:
        events = GaugeMetricFamily("ledger_projection_lag_events", "Events not yet read.", labels=_LABELS)
        seconds = GaugeMetricFamily("ledger_projection_lag_seconds", "Age of the oldest of them.", labels=_LABELS)
        parked = GaugeMetricFamily("ledger_projection_parked_events", "Jobs set aside.", labels=_LABELS)
        for projection in self._queries.list_projections():
            events.add_metric((projection.name,), projection.lag_events)
            seconds.add_metric((projection.name,), projection.lag_seconds)
            parked.add_metric((projection.name,), projection.parked)
        return events, seconds, parked

    def _holes(self) -> Metric:
        holes = GaugeMetricFamily("ledger_cursor_holes", "Positions that may still be filled.", labels=_LABELS)
        with reading(self._database) as connection:
            for name, count in connection.execute(_HOLES):
                holes.add_metric((name,), count)
        return holes


class Repairs(Collector):
    """What this process' dispatcher has repaired."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        dispatcher = self._dispatcher
        yield CounterMetricFamily("ledger_dispatch_refills", "Times all streams were filled.", value=dispatcher.refills)
        yield CounterMetricFamily("ledger_dispatch_healed", "Messages put back one by one.", value=dispatcher.healed)
        yield CounterMetricFamily("ledger_log_rewound", "Times the log was taken back.", value=dispatcher.rewinds)
        yield CounterMetricFamily("ledger_dispatched", "Messages added.", value=dispatcher.dispatched)
