"""Opening a job: from a checked request to the append that puts it on record, and the idempotency key that goes with
it.

The key is stored in the transaction of the append: either both are there or neither is.
"""

from __future__ import annotations

import marshal
import socket
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from psycopg.errors import LockNotAvailable

from ledger import commands, ids
from ledger.errors import (
    IdempotencyConflict,
    IdempotencyKeyInUse,
    JobExists,
    Unavailable,
)
from ledger.events import Entry, Trace
from ledger.handlers import current_job
from ledger.job import JobState, open_job
from ledger.log import Append, Blocked, Conflict, Recorded
from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ledger.log import Outcome
    from ledger.requests import Submission
    from ledger.runtime.statements import Executes


class Made(msgspec.Struct, frozen=True, gc=False):
    """A job that is on record."""

    job_id: UUID
    job: JobState | None = None
    """As it was made, where that is known without asking."""
    replayed: bool = False
    """An earlier request with the same idempotency key had made it."""


KEY_WAIT = timedelta(seconds=5)
"""How long to wait for another request that is using the same idempotency key."""

_CLAIM = statement("ledger", "claim_idempotency_keys")
_CLAIMED = statement("ledger", "select_idempotency_keys")
_MOST_KNOWN = 1000
_PYTHON_NAMES = {"run_at": "scheduled_at", "job_id": "id"}


def opening(wanted: Submission, actor: str, now: datetime, traceparent: str | None = None) -> Append:
    """Return the append that makes the job. Inside a handler, it says which run caused it."""
    job_id = wanted.job_id or ids.mint()
    cause = current_job.get()
    correlation_id = wanted.correlation_id or (cause.correlation_id if cause else str(job_id))
    return Append(
        job_id=job_id,
        events=commands.submit(wanted.request, now),
        queue=wanted.queue,
        priority=wanted.priority,
        actor=actor,
        is_new=wanted.job_id is None,
        trace=Trace(
            correlation_id=correlation_id,
            causation_id=str(cause.token) if cause else None,
            traceparent=traceparent or (cause.traceparent if cause else None),
        ),
    )


def opened(append: Append, recorded: Recorded) -> JobState:
    """Return the job that this append has put on record, without reading it again."""
    return open_job(
        Entry(
            position=recorded.position,
            at=recorded.at,
            job_id=append.job_id,
            version=recorded.version,
            queue=append.queue,
            priority=append.priority,
            actor=append.actor,
            event=append.events[0],
            trace=append.trace,
        )
    )


def claim_keys(
    connection: Executes, wanted: Sequence[Submission], job_ids: Sequence[UUID], ttl: timedelta
) -> list[UUID | None]:
    """Take the idempotency key of each request for its job; return the jobs that keys stand for already, else None.

    The requests are sorted by their keys, and a key that comes again stands for the first one's job. Raises
    IdempotencyConflict where that came of another request, IdempotencyKeyInUse where it is not decided yet.
    """
    keys = [each.request.idempotency_key or "" for each in wanted]
    first = {key: place for place, key in reversed(list(enumerate(keys)))}
    claims = [(key, job_ids[place], wanted[place].fingerprint) for key, place in sorted(first.items())]
    kept = {key: (job_id, fingerprint) for key, job_id, fingerprint in claims}
    ours = _claim(connection, claims, ttl)
    if others := [key for key in first if key not in ours]:
        rows = connection.execute(_CLAIMED, {"keys": others}).fetchall()
        found = {key: (job_id, bytes(fingerprint)) for key, job_id, fingerprint in rows}
        for key in others:
            if key not in found:
                raise IdempotencyKeyInUse(key)
        kept |= found
    for key, each in zip(keys, wanted, strict=True):
        if kept[key][1] != each.fingerprint:
            raise IdempotencyConflict(key, kept[key][0])
    return [None if key in ours and first[key] == place else kept[key][0] for place, key in enumerate(keys)]


def _claim(connection: Executes, claims: Sequence[tuple[str, UUID, bytes]], ttl: timedelta) -> set[str]:
    keys, job_ids, fingerprints = (list(column) for column in zip(*claims, strict=True))
    parameters = {"keys": keys, "job_ids": job_ids, "fingerprints": fingerprints, "ttl": ttl.total_seconds()}
    try:
        return {key for (key,) in connection.execute(_CLAIM, parameters).fetchall()}
    except LockNotAvailable as error:
        raise IdempotencyKeyInUse(*keys) from error


def taken(outcomes: Iterable[Outcome]) -> list[Recorded]:
    """Return the outcomes when all jobs could be opened; raise for the first that could not."""
    recorded: list[Recorded] = []
    for outcome in outcomes:
        match outcome:
            case Recorded():
                recorded.append(outcome)
            case Conflict():
                raise JobExists(outcome.job_id)
            case Blocked():
                raise Unavailable(f"another transaction is making job {outcome.job_id}; try again later")
    return recorded


def spelled(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return Python's options under the names of the request's fields; None means not given."""
    return {_PYTHON_NAMES.get(name, name): value for name, value in options.items() if value is not None}


class Repeated:
    """Checks requests of which many are alike but for their payload: what was found out about the rest is kept."""

    def __init__(self, check: Callable[[Mapping[str, Any], bytes], Submission], max_payload: int) -> None:
        self._check = check
        self._max_payload = max_payload
        self._known: dict[Any, Submission] = {}

    def __call__(self, members: Mapping[str, Any], payload: bytes) -> Submission:
        """Return the request, checked; raise InvalidRequest with every breach."""
        try:
            options = tuple(_option(name, value) for name, value in members.items() if name != "payload")
            known = self._known.get(options)
        except (TypeError, ValueError):  # a value that cannot be told from others
            return self._check(members, payload)
        if known is not None and len(payload) <= self._max_payload:
            return known.holding(payload)
        found = self._check(members, payload)
        if found.is_fresh and len(self._known) < _MOST_KNOWN:
            self._known[options] = found
        return found


def _option(name: str, value: Any) -> tuple[Any, ...]:
    """Return what stands for an option: equal only for equal values of equal types, within an object too."""
    return name, value.__class__, marshal.dumps(value, 2) if value.__class__ is dict else value


def actor_now(given: str | None) -> str:
    """Return who acts: the one given, the worker whose handler this is, or this host."""
    job = current_job.get()
    return given or (f"worker:{job.worker_id}" if job else _host())


@cache
def _host() -> str:
    return f"client:{socket.gethostname()}"
