"""Bringing back what Redis has lost: a refill of all dispatch streams, and the reconciler's look at the oldest jobs.

Both compare ids, never lengths: a failover loses messages and brings acknowledged ones back, and a length may hide
both. Nothing is deleted: what is on a stream stays, its deliveries and their owners too, and only what is absent is
added. So a refill costs Redis no more memory than there are ready jobs, however often it happens, and what is on a
stream although its job is no longer ready goes away as workers meet it and the log refuses the lease.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Any

from psycopg.errors import LockNotAvailable, UndefinedTable

from ledger.message import Message
from ledger.runtime.statements import statement
from ledger_projections import cursors
from ledger_projections.redis_streams import PAGE, DispatchStreams, Ready, ready

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ledger_projections.projection import AnyConnection

SAMPLE = 100
"""How many of the oldest ready jobs of each queue and priority the reconciler looks for."""
AGE = "3 seconds"
"""A job that has been ready for less may still be on its way to Redis."""
LOCK_WAIT = "100ms"

_READY = statement("ledger_projections", "dispatch/select_ready")
_OLDEST = statement("ledger_projections", "dispatch/select_oldest_ready")
_FOLLOW = statement("ledger_projections", "dispatch/follow_jobs")
_NEWEST = statement("ledger_projections", "dispatch/select_newest")
_LIMIT = statement("ledger_projections", "rebuild/limit_lock_wait")
_BE_PATIENT = statement("ledger_projections", "dispatch/be_patient")


def refill(connection: AnyConnection, streams: DispatchStreams) -> int | None:
    """Add every ready job that is on no stream, and go on reading the log from where that was known.

    One snapshot holds the ready jobs and the position they were folded up to. Return how many were added; None when
    another dispatcher is active.
    """
    with connection.transaction():
        cursors.begin(connection)
        if cursors.take(connection, "dispatch", "live") is None:
            return None
        connection.execute(_BE_PATIENT)
        streams.begin_refill()
        followed = connection.execute(_FOLLOW).fetchone() == (True,)
        newest = connection.execute(_NEWEST).fetchone()
        streams.remember(newest and newest[0])
        jobs = groupby(_ready(connection), _stream) if followed else ()
        added = sum(_add_absent(streams, stream, group) for stream, group in jobs)
    streams.end_refill()
    return added


def sample(connection: AnyConnection) -> list[Ready]:
    """Return the jobs that have been ready longest, stream by stream, the oldest first; none where that would mean to
    wait for somebody's lock.
    """
    try:
        with connection.transaction():
            connection.execute(_LIMIT, {"wait": LOCK_WAIT})
            return [_read(row) for row in connection.execute(_OLDEST, {"sample": SAMPLE, "age": AGE}, binary=True)]
    except (UndefinedTable, LockNotAvailable):
        return []  # the projection `jobs` has not begun yet, or its table is locked: dispatch itself needs it not


def is_great_loss(wanted: Sequence[Ready], absent: Sequence[Ready]) -> bool:
    """Whether so many of a stream's oldest jobs are gone that more are sure to be."""
    looked_for = Counter(map(_stream, wanted))
    return any(2 * n >= SAMPLE <= looked_for[stream] for stream, n in Counter(map(_stream, absent)).items())


def _ready(connection: AnyConnection) -> Iterator[Ready]:
    with connection.cursor(name="ready", binary=True) as rows:
        rows.itersize = PAGE
        rows.execute(_READY)
        yield from map(_read, rows)


def _add_absent(streams: DispatchStreams, stream: str, jobs: Iterable[Ready]) -> int:
    present = streams.names(stream)
    added = 0
    chunk: list[Ready] = []
    for job in jobs:
        if job.name not in present:
            chunk.append(job)
        if len(chunk) == PAGE:
            streams.hold({job.queue})
            streams.add(chunk)
            added += len(chunk)
            chunk = []
    streams.add(chunk)
    return added + len(chunk)


def _read(row: tuple[Any, ...]) -> Ready:
    queue, priority, job_id, version, attempt, type_ = row
    return ready(queue, priority, Message(job_id, version, attempt, type_))


def _stream(job: Ready) -> str:
    return job.stream
