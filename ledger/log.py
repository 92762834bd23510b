"""The log's contract: append events to jobs' histories and read them back.

Two logs keep it, one in Postgres and one in memory, and one suite (`tests/conformance`) tests both.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import msgspec

from ledger.errors import CorruptHistory
from ledger.events import NO_TRACE, Event, Kind, Priority, Trace
from ledger.job import LAST_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ledger.events import Entry
    from ledger.job import JobState


# Here and below without garbage collection: values of values make no rings, and a batch makes many of them.
class Append(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Events to add to one job, all or none, right after the event the writer saw.

    The log takes them only where the event at `after_version` is there and is of kind `after_kind` (and, for a lease,
    carries `nonce`), and where nothing stands at the next version. Nothing else guards a job.
    """

    job_id: UUID
    events: tuple[Event, ...]
    queue: str
    priority: Priority
    actor: str
    after_version: int = 0
    after_kind: Kind | None = None
    """None only for a job's first event."""
    nonce: str | None = None
    """Of the lease whose outcome this is; a void or foreign lease has another."""
    trace: Trace = NO_TRACE
    is_new: bool = False
    """The id has been minted for this, the one first event: nobody can be in its way."""


def following(job: JobState, events: tuple[Event, ...], actor: str) -> Append:
    """Return the append of someone who has seen the job like this; of a running one, under its open lease."""
    return Append(
        job_id=job.id,
        events=events,
        queue=job.queue,
        priority=job.priority,
        actor=actor,
        after_version=job.version,
        after_kind=LAST_KINDS[job.state],
        nonce=job.nonce,
        trace=Trace(correlation_id=job.correlation_id),
    )


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """The append is in the log. `version` and `position` are those of its last event."""

    job_id: UUID
    version: int
    position: int
    at: datetime


class Conflict(msgspec.Struct, frozen=True, gc=False):
    """The append was refused whole: the version was taken, or the event it follows is not there."""

    job_id: UUID
    version: int
    """The version it wanted first."""


class Blocked(msgspec.Struct, frozen=True, gc=False):
    """Somebody's open transaction holds that version; whether the append wins is known when it ends. Try later."""

    job_id: UUID
    version: int


Outcome = Recorded | Conflict | Blocked


class Lease(msgspec.Struct, frozen=True, gc=False):
    """A wish to run a job that became ready at `version`."""

    job_id: UUID
    version: int
    nonce: str


class Log(Protocol):
    """Append-only histories. Every method may raise Unavailable."""

    def append(self, appends: Sequence[Append]) -> list[Outcome]:
        """Add each append whole or not at all, independently of the others, and answer in the same order.

        Durable when it returns. Where a job occurs more than once in a call, the first comes first.
        """
        ...

    def lease(self, leases: Sequence[Lease], worker_id: str) -> list[tuple[Entry, ...]]:
        """Append `leased` where the job is still ready at that very version, and return the histories of the jobs won.

        A version of a job may occur once in a call; of several versions of one job one is granted at most. May be lost
        in a crash of Postgres; the nonce then keeps the loser's outcome out.
        """
        ...

    def history(self, job_id: UUID) -> tuple[Entry, ...]:
        """Return a job's events in version order; empty if there is no such job."""
        ...

    def histories(self, job_ids: Iterable[UUID]) -> dict[UUID, tuple[Entry, ...]]:
        """Return the histories of several jobs; the unknown ones are absent."""
        ...


def readable(log: Log, job_ids: Sequence[UUID]) -> tuple[dict[UUID, tuple[Entry, ...]], dict[UUID, CorruptHistory]]:
    """Return the histories that can be read, and why not of those that cannot: one of them harms no other."""
    try:
        return log.histories(job_ids), {}
    except CorruptHistory as error:
        if len(job_ids) == 1:
            return {}, {job_ids[0]: error}
    middle = len(job_ids) // 2
    (histories, corrupt), (others, also_corrupt) = readable(log, job_ids[:middle]), readable(log, job_ids[middle:])
    return histories | others, corrupt | also_corrupt
