"""What a scheduler counts and measures; the names are those of every dashboard."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 3600)


class Meters:
    """The meters of one scheduler process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.delay = Histogram(
            "ledger_schedule_fire_delay_seconds",
            "From a schedule's tick to its job.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self.expired = Counter(
            "ledger_leases_expired", "Leases of silent workers that were released.", ["queue"], registry=registry
        )
        self.oldest_pinned = Gauge(
            "ledger_oldest_pinned_partition_age_seconds",
            "Since the end of the oldest week that should have left the log and cannot; 0 if there is none.",
            registry=registry,
        )
        self.skipped = Counter(
            "ledger_schedule_ticks_skipped",
            "Ticks that made no job.",
            ["reason"],
            registry=registry,
        )
