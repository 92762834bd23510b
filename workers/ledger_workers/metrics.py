"""What a worker counts and measures; the names are those of every dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ledger.events import Kind
    from ledger.job import JobState

_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 3600)


class Meters:
    """The meters of one worker process. Ids are never labels; `type` is one, for a worker's types are a closed set."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.wait = Histogram(
            "ledger_job_wait_seconds",
            "From ready to leased.",
            ["queue", "priority"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.duration = Histogram(
            "ledger_job_duration_seconds",
            "How long handlers ran.",
            ["queue", "type", "outcome"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.refused = Counter(
            "ledger_completions_refused",
            "Outcomes that came after their lease was void.",
            ["queue"],
            registry=registry,
        )
        self.unknown = Counter(
            "ledger_unknown_type_messages",
            "Messages put back because no handler is registered for their type.",
            ["queue"],
            registry=registry,
        )
        self.append = Histogram("ledger_append_seconds", "One append of outcomes.", buckets=_BUCKETS, registry=registry)
        self.conflicts = Counter(
            "ledger_append_conflicts", "Appends refused because another writer was first.", registry=registry
        )
        self._events = Counter("ledger_events_appended", "Events put on record.", ["kind", "queue"], registry=registry)
        self._waits: dict[tuple[str, str], Callable[[float], None]] = {}

    def appended(self, events: Mapping[tuple[Kind, str], int]) -> None:
        """Count events put on record, by kind and queue."""
        for (kind, queue), count in events.items():
            self._events.labels(kind.value, queue).inc(count)

    def waited(self, job: JobState) -> None:
        """Note how long a job that was just leased had been ready."""
        if job.started_at is None or job.ready_at is None:
            return
        labels = (job.queue, job.priority.word)
        observe = self._waits.get(labels)
        if observe is None:
            observe = self._waits[labels] = self.wait.labels(*labels).observe
        observe((job.started_at - job.ready_at).total_seconds())
