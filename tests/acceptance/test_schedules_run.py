"""Schedules in the running system: defined in code or made while it runs, by processes of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.schedules import Schedules
from tests.support import ring
from tests.support.working import until

if TYPE_CHECKING:
    from ledger.schedule import Schedule

APP = "tests.support.scheduled_app:ledger"


def test_d03_d30_schedules_of_code_and_of_operators_run_without_a_restart(database: str, redis_url: str) -> None:
    with ring.running(database, redis_url) as system:
        store = Schedules(system.ledger)
        system.start("worker", APP)
        until(lambda: any(each.name == "tick" for each in store.list()))
        system.reached(str(until(lambda: last_job(store.get("tick")))), "succeeded")
        store.pause("tick")
        made = store.create(
            {"name": "by-hand", "job_type": "count", "cron_expression": "@every 1s", "payload": {"by": 7}}
        )
        job = system.reached(str(until(lambda: last_job(store.get(made.id)))), "succeeded")
        assert (job["result"], job["schedule_id"], job["correlation_id"]) == (7, str(made.id), job["id"])
        assert job["tick_at"] is not None
        store.delete(made.id)
        system.command("verify")


def last_job(schedule: Schedule) -> object:
    return schedule.last_job_id
