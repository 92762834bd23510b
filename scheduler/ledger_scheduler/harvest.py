"""Harvests: one kind of change that is due to all jobs whose time has come, batch by batch.

A sweep goes through the candidates once, in the order of their time. The read model lags, so the next sweep meets many
of the same jobs again; those of which the log is known to be ahead are passed over without reading it. Known of this
server: after a crash, a restore or a failover the log may be shorter than we knew it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from ledger.commands import Events
from ledger.job import JobState
from ledger.postgres import PostgresLog
from ledger_scheduler.changes import candidates, change

if TYPE_CHECKING:
    from ledger.events import Event
    from ledger.runtime.database import Database

RuleAt = Callable[[JobState, datetime], Events]
"""A rule that judges by the database's time."""

_START = (datetime(1, 1, 2, tzinfo=UTC), UUID(int=0))


class Harvest:
    """The jobs that `select` finds, changed as `rule` says. One thread's."""

    def __init__(self, database: Database, select: bytes, rule: RuleAt, batch_size: int) -> None:
        self._database = database
        self._log = PostgresLog(database)
        self._select = select
        self._rule = rule
        self._batch_size = batch_size
        self._server: datetime | None = None
        self._begin()

    def next_batch(self) -> tuple[list[Event], bool]:
        """Change one batch; return what was appended, and whether the sweep goes on."""
        try:
            return self._next_batch()
        except BaseException:
            self._begin()
            raise

    def _begin(self) -> None:
        self._after = _START
        self._ahead: dict[UUID, int] = {}
        self._met: dict[UUID, int] = {}

    def _next_batch(self) -> tuple[list[Event], bool]:
        after_at, after_id = self._after
        place = {"after_at": after_at, "after_id": after_id, "limit": self._batch_size}
        rows = candidates(self._database, self._select, place)
        if rows and rows[0][4] != self._server:
            self._server = rows[0][4]
            self._ahead, self._met = {}, {}
        fresh: list[UUID] = []
        for _, job_id, version, *_ in rows:
            if (known := self._ahead.get(job_id, 0)) > version:
                self._met[job_id] = known
            else:
                fresh.append(job_id)
        events: list[Event] = []
        if fresh:
            now: datetime = rows[0][3]
            changed = change(self._log, fresh, lambda job: self._rule(job, now))
            self._met |= changed.versions
            events = changed.events
        return events, self._goes_on(rows)

    def _goes_on(self, rows: list[tuple[datetime, UUID, int, datetime, datetime]]) -> bool:
        if len(rows) == self._batch_size:
            self._after = rows[-1][0], rows[-1][1]
            return True
        self._after, self._ahead, self._met = _START, self._met, {}
        return False
