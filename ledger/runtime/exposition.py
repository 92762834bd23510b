"""What Prometheus is told by a process that is no API: itself, this version, and what is collected at the scrape."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import InfoMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric


def exposition(*collectors: Collector, registry: CollectorRegistry | None = None) -> Callable[[], bytes]:
    """Return what renders them all, and what is in the registry, each time anew."""
    registry = registry or CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    for collector in (_Build(), *collectors):
        registry.register(collector)
    return lambda: generate_latest(registry)


class _Build(Collector):
    def collect(self) -> Iterable[Metric]:
        yield InfoMetricFamily("ledger_build", "This version.", value={"version": version("jobledger")})
