"""Schedules on a scheduler's stage: made as an operator would, with ticks moved into the past."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ledger_scheduler.metrics import Meters
from ledger_scheduler.ticks import Ticks
from prometheus_client import CollectorRegistry

from ledger import Ledger
from ledger.events import RetryPolicy
from ledger.schedules import Schedules
from tests.support.scheduling import Bell, Stage

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from ledger.events import Entry
    from ledger.runtime.database import Database
    from ledger.schedule import Schedule

REQUEST = {"name": "nightly", "job_type": "report.make", "cron_expression": "@every 1h"}
RETRY = RetryPolicy(base_seconds=7)


class TickStage:
    """One stage, its schedules, and a scheduler's ticks turned by hand."""

    def __init__(self, stage: Stage, redis_url: str) -> None:
        self.stage = stage
        self.ledger = Ledger(database_url=stage.database.url, redis_url=redis_url, actor="cli:test")
        self.schedules = Schedules(self.ledger)
        self.registry = CollectorRegistry()
        self.ticks = make_ticks(stage.database, stage.bell, self.registry)

    def create(self, **members) -> Schedule:
        return self.schedules.create(REQUEST | members)

    def set_back(self, schedule: Schedule, span: timedelta) -> datetime:
        """Move a schedule's whole life into the past, so that its next tick was so long ago; return that tick."""
        self.stage.execute(
            "update ledger.schedules set created_at = created_at - (next_run_at - (now() - %s::interval)),"
            " next_run_at = now() - %s::interval where id = %s",
            span, span, schedule.id,
        )  # fmt: skip
        tick = self.schedules.get(schedule.id).next_run_at
        assert tick is not None
        return tick

    def turn(self) -> None:
        self.stage.turn(self.ticks)

    def openings(self, schedule: Schedule) -> list[Entry]:
        """The first events of the jobs that ticks made, in the order of their ticks."""
        entries = [self.stage.log.history(job_id)[0] for job_id in self.jobs(schedule)]
        return sorted(entries, key=lambda entry: entry.event.request.tick_at)

    def fired(self, schedule: Schedule) -> list[datetime]:
        return [entry.event.request.tick_at for entry in self.openings(schedule)]

    def jobs(self, schedule: Schedule) -> list[UUID]:
        with self.stage.database.connection() as connection:
            rows = connection.execute(
                "select job_id from ledger.events where version = 1 and data ->> 'schedule_id' = %s"
                " and data ->> 'tick_at' is not null order by job_id",
                [str(schedule.id)],
            ).fetchall()
        return [row[0] for row in rows]

    def skipped(self, reason: str) -> float:
        return self.registry.get_sample_value("ledger_schedule_ticks_skipped_total", {"reason": reason}) or 0.0

    def close(self) -> None:
        self.ledger.close()


def make_ticks(database: Database, bell: Bell | None = None, registry: CollectorRegistry | None = None) -> Ticks:
    return Ticks(
        database,
        bell or Bell(),
        Meters(registry or CollectorRegistry()),
        retry=RETRY,
        poll=timedelta(seconds=1),
        batch_size=10,
    )
