"""The tally: what the children of a supervisor have counted, added up, also of those that have gone.

Each child says every second what its counters and histograms stand at. The supervisor keeps the last word of each, and
adds that of a dead one to what stays: a sum over processes never falls, however often they are replaced.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec
from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable

Labels = tuple[tuple[str, str], ...]

_SUMMED = frozenset({"counter", "histogram", "summary"})
_OF_A_PROCESS = ("process_", "python_")
"""How the names of metrics begin that say something about one interpreter only."""


class Sample(msgspec.Struct, frozen=True, array_like=True):
    name: str
    labels: Labels
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    """A metric and what it stands at in one process."""

    name: str
    help: str
    kind: str
    samples: tuple[Sample, ...]


def counted(registry: CollectorRegistry = REGISTRY) -> tuple[Family, ...]:
    """Return what can be added up over processes, the application's own counters too."""
    return tuple(
        Family(metric.name, metric.documentation, metric.type, tuple(_samples(metric)))
        for metric in registry.collect()
        if metric.type in _SUMMED and not metric.name.startswith(_OF_A_PROCESS)
    )


class Tally(Collector):
    """Adds up; safe to share by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: dict[str, tuple[Family, ...]] = {}
        self._families: dict[str, Family] = {}
        self._gone: defaultdict[tuple[str, str, Labels], float] = defaultdict(float)

    def hear(self, worker_id: str, families: tuple[Family, ...]) -> None:
        with self._lock:
            self._latest[worker_id] = families
            self._families |= {family.name: family for family in families}

    def bury(self, worker_id: str) -> None:
        """Keep what this worker had counted."""
        with self._lock:
            _add(self._gone, self._latest.pop(worker_id, ()))

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            sums = defaultdict(float, self._gone)
            for families in self._latest.values():
                _add(sums, families)
            metrics = {name: Metric(name, family.help, family.kind) for name, family in self._families.items()}
        for (family, name, labels), value in sums.items():
            metrics[family].add_sample(name, dict(labels), value)
        return list(metrics.values())


def _samples(metric: Metric) -> Iterable[Sample]:
    for sample in metric.samples:
        if not sample.name.endswith("_created"):
            yield Sample(sample.name, tuple(sample.labels.items()), sample.value)


def _add(sums: defaultdict[tuple[str, str, Labels], float], families: tuple[Family, ...]) -> None:
    for family in families:
        for sample in family.samples:
            sums[family.name, sample.name, sample.labels] += sample.value
