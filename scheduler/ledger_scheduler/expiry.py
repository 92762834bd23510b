"""Expiry: a job that has not started by its `expires_at` is cancelled. A running one is left to finish."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger import commands
from ledger.runtime.statements import statement
from ledger_scheduler.harvest import Harvest

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.job import JobState
    from ledger.runtime.database import Database

_SELECT = statement("ledger_scheduler", "select_expired")


class Expiry:
    """Cancels jobs that expired before they started."""

    name = "expiry"

    def __init__(self, database: Database, batch_size: int) -> None:
        self._harvest = Harvest(database, _SELECT, _rule, batch_size)
        self.cancelled = 0

    def run_once(self) -> bool:
        events, goes_on = self._harvest.next_batch()
        self.cancelled += len(events)
        return goes_on


def _rule(job: JobState, _: datetime) -> commands.Events:
    return commands.expire(job)
