"""Which jobs of a schedule have not ended. The read models name them, and the schedule its last one, which they may not
know yet; the log decides. A dead job has ended: it waits for an operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from ledger_projections.reading import reading

from ledger.errors import Unavailable
from ledger.job import JobState, State, fold
from ledger.log import readable
from ledger.postgres import PostgresLog
from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from ledger.runtime.database import Database
    from ledger.schedule import Schedule

log = structlog.get_logger()

_LATEST = 100
"""How many jobs of a schedule are looked at, the newest first."""
_SELECT = statement("ledger_scheduler", "select_unended")


def unended_jobs(database: Database, schedules: Sequence[Schedule]) -> dict[UUID, list[JobState]]:
    """Return the jobs that have not ended, by schedule."""
    if not schedules:
        return {}
    owners = {job_id: schedule_id for schedule_id, job_id in _named(database, schedules)}
    owners |= {each.last_job_id: each.id for each in schedules if each.last_job_id is not None}
    histories, corrupt = readable(PostgresLog(database), list(owners))
    for job_id, error in corrupt.items():
        log.error("job cannot be read, taken as ended", job_id=str(job_id), error=str(error))
    found: dict[UUID, list[JobState]] = {}
    for job_id, history in histories.items():
        job = fold(history)
        if job is not None and not has_ended(job):
            found.setdefault(owners[job_id], []).append(job)
    return found


def has_ended(job: JobState) -> bool:
    return job.state.is_end or job.state is State.DEAD


def _named(database: Database, schedules: Sequence[Schedule]) -> list[tuple[UUID, UUID]]:
    wanted = {"schedules": [each.id for each in schedules], "limit": _LATEST}
    try:
        with reading(database) as connection:
            return [(row[0], row[1]) for row in connection.execute(_SELECT, wanted, binary=True).fetchall()]
    except Unavailable:
        return []  # no projector has run yet; where Postgres is away, what comes next says so
