"""The verbs on one job: to look at it, and to change it.

A job is changed by reading its history, asking the rules, and appending at the next version; if another writer was
faster, that is done again on what it left.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ledger import commands, ids
from ledger.aio import Threads, twin
from ledger.doors import Doors
from ledger.errors import JobNotFound, Unavailable, VersionConflict
from ledger.events import Enqueued, Entry
from ledger.job import JobState, fold
from ledger.log import Blocked, Recorded, following
from ledger.opening import actor_now
from ledger.requests import span, words
from ledger.wake import News

if TYPE_CHECKING:
    from ledger.handlers import Duration
    from ledger.notes import Note
    from ledger.store import Store

Rule = Callable[[JobState, datetime], commands.Events]

BLOCKED_WAIT = timedelta(seconds=5)
"""How long a verb waits for somebody's open transaction that is changing the same job."""


class Verbs(Doors):
    """The part of an application that looks at its jobs and changes them."""

    store: Store
    threads: Threads
    actor: str | None
    """Who changes them where nobody else is named."""

    def get(self, job_id: UUID | str) -> JobState:
        """Return the job as the log says it is at this moment; raise JobNotFound."""
        job = fold(self.history(job_id))
        assert job is not None
        return job

    def history(self, job_id: UUID | str, *, connection: Any = None) -> tuple[Entry, ...]:
        """Return everything that ever happened to the job, oldest first; raise JobNotFound."""
        wanted = _id(job_id)
        found = self.store.history(wanted, connection)
        if not found:
            raise JobNotFound(job_id)
        return found

    def notes(self, job_id: UUID | str) -> list[Note]:
        """Return what the job's handlers have said by `job.progress` and `job.log`, oldest first; raise JobNotFound."""
        found = self.store.notes(_id(job_id))
        if not found:
            self.history(job_id)  # an unknown job is told from a silent one
        return found

    def cancel(self, job_id: UUID | str, reason: str | None = None, **how: Any) -> JobState:
        """End a job that has not ended; of a running one the lease is void at once. Twice is as good as once.

        `how`: `connection=` joins the caller's transaction, `actor=` says who, `if_version=` demands the version.
        Raises JobNotFound, InvalidRequest, CommandRefused, VersionConflict (only with `if_version`).
        """
        said = words(reason)
        return self.command(job_id, lambda job, _: commands.cancel(job, reason=said), **how)

    def retry(
        self, job_id: UUID | str, reason: str | None = None, delay: Duration | None = None, **how: Any
    ) -> JobState:
        """Give a dead job a new budget, now or after `delay`. Raises as `cancel` does."""
        said, wait = words(reason), None if delay is None else span(delay)
        return self.command(job_id, lambda job, now: commands.retry(job, now, wait, said), **how)

    def run_now(self, job_id: UUID | str, reason: str | None = None, **how: Any) -> JobState:
        """Make a scheduled or retrying job ready before its time. Raises as `cancel` does."""
        said = words(reason)
        return self.command(job_id, lambda job, _: commands.run_now(job, said), **how)

    def discard(self, job_id: UUID | str, reason: str | None = None, **how: Any) -> JobState:
        """Give a dead job up for good. Raises as `cancel` does."""
        said = words(reason)
        return self.command(job_id, lambda job, _: commands.discard(job, said), **how)

    def command(
        self,
        job_id: UUID | str,
        rule: Rule,
        *,
        connection: Any = None,
        actor: str | None = None,
        if_version: int | None = None,
    ) -> JobState:
        """Ask a rule what happens to the job and append it; when another writer was faster, look again."""
        deadline = time.monotonic() + BLOCKED_WAIT.total_seconds()
        while True:
            job = fold(self.history(job_id, connection=connection))
            assert job is not None
            if if_version is not None and job.version != if_version:
                raise VersionConflict(job.id, if_version)
            events = rule(job, self.now())
            if not events:
                return job
            append = following(job, events, actor_now(actor or self.actor))
            outcome = self.store.append(append, connection)
            if isinstance(outcome, Recorded):
                if isinstance(events[-1], Enqueued):
                    self._tell_ready(job, outcome.version, connection)
                return self._after(job_id, outcome.version, connection)
            if isinstance(outcome, Blocked) and time.monotonic() > deadline:
                raise Unavailable(f"job {job.id} is being changed by a transaction that stays open; try again later")

    aget = twin(get)
    ahistory = twin(history)
    anotes = twin(notes)
    acancel = twin(cancel)
    aretry = twin(retry)
    arun_now = twin(run_now)
    adiscard = twin(discard)

    def _tell_ready(self, job: JobState, version: int, connection: Any) -> None:
        if connection is not None:
            self.waker.wake(job.queue)
        else:
            self.waker.ready(News(job.queue, job.priority, job.id, version, job.attempt + 1, job.request.type))

    def _after(self, job_id: UUID | str, version: int, connection: Any) -> JobState:
        job = fold(entry for entry in self.history(job_id, connection=connection) if entry.version <= version)
        assert job is not None
        return job


def _id(job_id: UUID | str) -> UUID:
    found = job_id if isinstance(job_id, UUID) else ids.parse(job_id)
    if found is None:
        raise JobNotFound(job_id)
    return found
