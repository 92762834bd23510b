"""Changes the scheduler makes to jobs: asked of the rules on what the log says, and appended right after that.

A read model names the candidates; it may be behind, and another scheduler, a worker or an operator may be faster. Then
the rule refuses or the log does, and there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
import structlog
from ledger_projections.reading import reading

from ledger.commands import Events
from ledger.errors import CommandRefused
from ledger.events import Event
from ledger.job import JobState, fold
from ledger.log import Append, Blocked, Recorded, following, readable
from ledger.runtime import failpoints

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ledger.log import Log
    from ledger.runtime.database import Database

logger = structlog.get_logger()

ACTOR = "scheduler"

READ_AT_ONCE = 200
"""Histories hold payloads: so many jobs with the largest payloads allowed still fit into memory."""

Rule = Callable[[JobState], Events]
"""Returns what is to be appended, nothing, or raises CommandRefused."""


class Changed(msgspec.Struct, frozen=True):
    """What became of the candidates."""

    events: list[Event]
    """What was appended, by us."""
    queues: list[str]
    """Of the jobs that were changed."""
    versions: dict[UUID, int]
    """How far the log is now, of each job that needs no further look. Absent are those that somebody's open transaction
    holds, and those the log does not know."""


def change(log: Log, job_ids: Sequence[UUID], rule: Rule) -> Changed:
    """Ask the rule about each of these jobs and append what it says."""
    changed = Changed([], [], {})
    for start in range(0, len(job_ids), READ_AT_ONCE):
        _change(log, job_ids[start : start + READ_AT_ONCE], rule, changed)
    return changed


def candidates(database: Database, statement: bytes, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Ask a read model; raise Unavailable where there is none yet."""
    with reading(database) as connection:
        return connection.execute(statement, parameters, binary=True).fetchall()


def _change(log: Log, job_ids: Sequence[UUID], rule: Rule, changed: Changed) -> None:
    appends: list[Append] = []
    histories, corrupt = readable(log, job_ids)
    for job_id, error in corrupt.items():
        logger.error("job cannot be read, left alone", job_id=str(job_id), error=str(error))
    for history in histories.values():
        job = fold(history)
        assert job is not None
        changed.versions[job.id] = job.version
        try:
            events = rule(job)
        except CommandRefused:
            continue
        if events:
            appends.append(following(job, events, ACTOR))
    failpoints.hit("after_due")
    for append, outcome in zip(appends, log.append(appends), strict=True):
        if isinstance(outcome, Recorded):
            changed.events.extend(append.events)
            changed.queues.append(append.queue)
        if isinstance(outcome, Blocked):
            del changed.versions[append.job_id]
        else:
            changed.versions[append.job_id] = outcome.version
