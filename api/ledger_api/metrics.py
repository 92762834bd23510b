"""Prometheus metrics: what this API served, and the state of the system as the read models have it at the scrape.

HTTP metrics are summed over the processes of one `ledger api` (prometheus-client's multiprocess directory); the rest is
read from Postgres, so every process gives the same answer.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from ledger.errors import Unavailable
from ledger_api.openapi.operation import Answer, operation

if TYPE_CHECKING:
    from collections.abc import Iterable

    import falcon
    from ledger_projections.queries import Queries
    from prometheus_client import Metric

_LABELS = ("method", "route", "status")
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})


class Metrics:
    """`/metrics`, and the counters behind it."""

    def __init__(self, queries: Queries) -> None:
        shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self._registry = CollectorRegistry()
        counted_in = CollectorRegistry() if shared else self._registry
        self._requests = Counter("ledger_http_requests", "Requests answered.", _LABELS, registry=counted_in)
        self._durations = Histogram(
            "ledger_http_request_duration_seconds", "Time to answer.", _LABELS, registry=counted_in
        )
        if shared:
            MultiProcessCollector(self._registry)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._registry.register(_System(queries))
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        # Methods are the caller's words: without a closed list, anybody could make series without end.
        names = (method if method in _METHODS else "other", route, status)
        if (series := self._series.get(names)) is None:
            labels = (*names[:2], str(status))
            series = self._series[names] = self._requests.labels(*labels), self._durations.labels(*labels)
        requests, durations = series
        requests.inc()
        durations.observe(seconds)

    @operation(
        "getMetrics",
        "Measure requests and the system, for Prometheus.",
        tag="probes",
        answers={200: Answer(str, "Prometheus' text format.", media_type="text/plain")},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        del req
        resp.content_type = CONTENT_TYPE_PLAIN_0_0_4
        resp.data = generate_latest(self._registry)


class _System(Collector):
    """Gauges over the read models; none while Postgres is away, for a scrape must not fail because of it."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        yield InfoMetricFamily("ledger_build", "This version.", value={"version": version("jobledger")})
        try:
            yield from self._queues()
            yield from self._projections()
        except Unavailable:
            return

    def _queues(self) -> Iterable[Metric]:
        jobs = GaugeMetricFamily("ledger_jobs", "Jobs that have not ended, and dead ones.", labels=("queue", "state"))
        age = GaugeMetricFamily(
            "ledger_queue_oldest_ready_age_seconds", "Wait of the oldest ready job.", labels=("queue",)
        )
        paused = GaugeMetricFamily("ledger_queue_paused", "Whether nothing new is leased.", labels=("queue",))
        for queue in self._queries.queue_infos():
            for state in ("scheduled", "ready", "running", "retrying", "dead"):
                jobs.add_metric((queue.name, state), getattr(queue, state))
            age.add_metric((queue.name,), queue.oldest_ready_age_seconds or 0.0)
            paused.add_metric((queue.name,), float(queue.paused))
        return jobs, age, paused

    def _projections(self) -> Iterable[Metric]:
        labels = ("projection",)
        events = GaugeMetricFamily("ledger_projection_lag_events", "Events not yet read.", labels=labels)
        seconds = GaugeMetricFamily("ledger_projection_lag_seconds", "Age of the oldest of them.", labels=labels)
        parked = GaugeMetricFamily("ledger_projection_parked_events", "Jobs set aside.", labels=labels)
        for projection in self._queries.list_projections():
            events.add_metric((projection.name,), projection.lag_events)
            seconds.add_metric((projection.name,), projection.lag_seconds)
            parked.add_metric((projection.name,), projection.parked)
        return events, seconds, parked
