"""The targets, each with how it is judged from the figures of one run. A missed one is told as missed, beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Medians = Mapping[str, Mapping[str, float]]
    """By peer (or `servers`), then by figure."""


@dataclass(frozen=True, slots=True)
class Verdict:
    what: str
    target: str
    found: str
    met: bool | None
    """None where a figure is missing."""


@dataclass(frozen=True, slots=True)
class Target:
    what: str
    target: str
    figure: str
    """Of Ledger."""
    bound: float
    """What the figure must reach, or stay below where `below` is set, or so many times `against`."""
    below: bool = False
    against: Callable[[Medians], float | None] | None = None
    unit: str = ""

    def judged(self, medians: Medians) -> Verdict:
        value = medians.get("ledger", {}).get(self.figure)
        base = self.against(medians) if self.against else None
        if value is None or (self.against and not base):
            shown = "not measured" if value is None else f"{shown_number(value)}{self.unit}; nothing to compare with"
            return Verdict(self.what, self.target, shown, None)
        measure = value / base if base else value
        shown = f"{shown_number(value)}{self.unit}" + (f" = {measure:.2f}×" if base else "")
        return Verdict(self.what, self.target, shown, measure <= self.bound if self.below else measure >= self.bound)


def best_peer(figure: str) -> Callable[[Medians], float | None]:
    """Return the look-up of the best of the others in this figure."""
    return lambda medians: max(
        (found[figure] for peer, found in medians.items() if peer not in {"ledger", "servers"} and figure in found),
        default=None,
    )


def of(peer: str, figure: str) -> Callable[[Medians], float | None]:
    return lambda medians: medians.get(peer, {}).get(figure)


TARGETS = (
    Target("drain, one process of 10 threads", "≥ 5 × the best peer", "drain_per_s", 5,
           against=best_peer("drain_per_s"), unit="/s"),
    Target("drain, one process of 10 threads", "≥ 17,000/s", "drain_per_s", 17_000, unit="/s"),
    Target("drain, coroutine handlers", "≥ 5 × the best peer", "async_drain_per_s", 5,
           against=best_peer("drain_per_s"), unit="/s"),
    Target("drain, as much in flight as pgqueuer's best mode", "≥ 1.5 × that mode", "many_drain_per_s", 1.5,
           against=of("pgqueuer", "many_drain_per_s"), unit="/s"),
    Target("drain, as much in flight as pgqueuer's best mode", "≥ 25,000/s", "many_drain_per_s", 25_000, unit="/s"),
    Target("producer and worker together", "≥ 3 × the best peer", "steady_per_s", 3,
           against=best_peer("steady_per_s"), unit="/s"),
    Target("producer and worker together", "≥ 8,400/s", "steady_per_s", 8_400, unit="/s"),
    Target("read models behind at its end", "< 1 s", "steady_read_models_lag_s", 1, below=True, unit=" s"),
    Target("jobs behind at its end", "< 1 s", "steady_jobs_lag_s", 1, below=True, unit=" s"),
    Target("enqueue one by one", "≥ 0.9 of raw INSERT + commit", "enqueue_per_s", 0.9,
           against=of("servers", "raw_insert_per_s"), unit="/s"),
    Target("enqueue in bulk", "≥ 80,000/s", "bulk_per_s", 80_000, unit="/s"),
    Target("enqueue in bulk", "≥ 0.6 of raw COPY", "bulk_per_s", 0.6,
           against=of("servers", "raw_copy_per_s"), unit="/s"),
    Target("idle latency, p50", "≤ 1.5 ms", "idle_p50_ms", 1.5, below=True, unit=" ms"),
    Target("idle latency, p99", "≤ 4 ms", "idle_p99_ms", 4, below=True, unit=" ms"),
    Target("latency at 1,000 jobs/s, p99", "≤ 15 ms", "paced_p99_ms", 15, below=True, unit=" ms"),
    Target("POST /api/v1/jobs, 2 workers, 16 clients", "≥ 3,000/s", "http_per_s", 3_000, unit="/s"),
    Target("POST /api/v1/jobs/bulk", "≥ 40,000 jobs/s", "http_bulk_jobs_per_s", 40_000, unit="/s"),
    Target("rebuild of all Postgres projections", "≥ 400,000 events/s", "rebuild_events_per_s", 400_000, unit="/s"),
    Target("history of one job in a big log, p99", "≤ 2 ms", "history_p99_ms", 2, below=True, unit=" ms"),
    Target("lists with many jobs, p99", "≤ 50 ms", "list_p99_ms", 50, below=True, unit=" ms"),
    Target("statistics with many jobs, p99", "≤ 50 ms", "stats_p99_ms", 50, below=True, unit=" ms"),
    Target("drain with a backlog", "≥ 0.9 of the fresh rate", "backlog_ratio", 0.9),
    Target("drain with old events", "≥ 0.9 of the fresh rate", "old_events_ratio", 0.9),
    Target("drain with a snapshot held open", "≥ 0.9 of the fresh rate", "snapshot_ratio", 0.9),
    Target("worker CPU a job", "≤ 50 µs", "worker_us", 50, below=True, unit=" µs"),
    Target("idle, all processes and servers together", "≤ 1 % of a core", "idle_all_percent", 1, below=True, unit=" %"),
    Target("resident, the largest process", "≤ 60 MB", "resident_largest_mb", 60, below=True, unit=" MB"),
    Target("import ledger", "≤ 150 ms", "import_ms", 150, below=True, unit=" ms"),
    Target("ledger --help", "≤ 300 ms", "help_ms", 300, below=True, unit=" ms"),
)  # fmt: skip


def verdicts(medians: Medians) -> list[Verdict]:
    return [target.judged(medians) for target in TARGETS]


def shown_number(value: float) -> str:
    """Return three significant digits or all whole ones: 12,345 · 12.3 · 0.12."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
