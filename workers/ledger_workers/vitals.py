"""What a supervisor can say of itself and its children: whether they move, whether they can work, what they count.

The port is the supervisor's, so `--processes` needs no more than one, and nothing a handler does keeps it from
answering.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ledger_migrations.revisions import newest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ledger.readiness import UNKNOWN, Readiness, is_ready
from ledger.runtime.database import Database
from ledger.runtime.exposition import exposition
from ledger.runtime.probes import Vitals
from ledger.runtime.service import STILL_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from ledger.settings import Settings
    from ledger_workers.supervisor import Supervisor


def vitals_of(supervisor: Supervisor, settings: Settings) -> Vitals:
    ready = _Ready(supervisor)
    return Vitals(
        standing_still=lambda: standing_still(supervisor, settings.worker_poll_interval.total_seconds()),
        checks=ready.checks,
        is_ready=is_ready,
        metrics=exposition(supervisor.tally, _Gauges(supervisor, settings.worker_concurrency)),
    )


def standing_still(supervisor: Supervisor, poll: float) -> str | None:
    """Name who should have moved long ago: a worker that is up and takes nothing is not alive.

    A fetcher that finds nothing waits for the poll interval.
    """
    ages = {"supervisor": time.monotonic() - supervisor.turned_at}
    for child in supervisor.taking_jobs():
        with suppress(ValueError):  # it has just ended, and its board is closed
            ages[child.id] = child.board.seconds_since_beat() - poll
    late = [f"{name} for {age:.0f} s" for name, age in ages.items() if age > STILL_LIMIT]
    return f"not turned: {', '.join(late)}" if late else None


class _Ready:
    """Which servers to ask is known once a child has loaded the application."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._readiness: Readiness | None = None

    def checks(self) -> dict[str, str]:
        if self._readiness is None:
            report = next((child.report for child in list(self._supervisor.children) if child.report), None)
            if report is None:
                return dict.fromkeys(("postgres", "migrations", "redis"), UNKNOWN)
            database = Database(report.database_url, size=1, name="ledger-probe")
            self._readiness = Readiness(database, report.redis_url, newest)
        return self._readiness.checks()


class _Gauges(Collector):
    """What each live child says on its board."""

    def __init__(self, supervisor: Supervisor, concurrency: int) -> None:
        self._supervisor = supervisor
        self._concurrency = concurrency

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        labels = ("worker_id",)
        slots = GaugeMetricFamily("ledger_worker_slots", "Jobs this process may run at once.", labels=labels)
        busy = GaugeMetricFamily("ledger_worker_slots_busy", "Jobs this process holds.", labels=labels)
        age = GaugeMetricFamily("ledger_worker_last_fetch_age_seconds", "Since it last looked for work.", labels=labels)
        for child in self._supervisor.taking_jobs():
            with suppress(ValueError):  # it has just ended, and its board is closed
                running, seconds = child.board.running(), child.board.seconds_since_beat()
                slots.add_metric((child.id,), self._concurrency)
                busy.add_metric((child.id,), running)
                age.add_metric((child.id,), seconds)
        return slots, busy, age
