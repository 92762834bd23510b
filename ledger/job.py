"""The job's state machine: which states exist and how a fact moves a job between them.

`evolve` never refuses the past: it takes any event in any state, for what is in the log has happened. What *may* happen
next is asked of `ledger.commands`; a history that the commands could not have written is found by `impossible`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from functools import reduce
from typing import TYPE_CHECKING, Any, assert_never
from uuid import UUID

import msgspec

from ledger.events import (
    Cancelled,
    DeadLettered,
    Discarded,
    Enqueued,
    Entry,
    Failed,
    Kind,
    Leased,
    Priority,
    Request,
    Retried,
    Scheduled,
    Succeeded,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


class State(StrEnum):
    """Where a job stands. `FAILED` is passed through inside one append and never rested in."""

    SCHEDULED = "scheduled"
    """Waits for `run_at`; the scheduler makes it ready, an operator may run it now or cancel it."""
    READY = "ready"
    """On a dispatch stream; a worker leases it, the scheduler cancels it when it expires."""
    RUNNING = "running"
    """Leased; its worker records the outcome, the scheduler releases it when the worker falls silent."""
    FAILED = "failed"
    """Between `failed` and the event that always follows it in the same append."""
    RETRYING = "retrying"
    """Failed, and waits for `run_at`; the scheduler makes it ready."""
    DEAD = "dead"
    """In the dead-letter queue; only an operator moves it, by retry or discard."""
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"

    @property
    def is_end(self) -> bool:
        return self in _ENDS


_ENDS = frozenset({State.SUCCEEDED, State.CANCELLED, State.DISCARDED})

RESTING = tuple(state for state in State if state is not State.FAILED)
"""The states a reader can find a job in."""

STEPS: dict[Kind, tuple[tuple[State | None, ...], State]] = {
    Kind.SCHEDULED: ((None, State.RUNNING), State.SCHEDULED),
    Kind.ENQUEUED: ((None, State.SCHEDULED, State.RETRYING, State.RUNNING), State.READY),
    Kind.LEASED: ((State.READY,), State.RUNNING),
    Kind.SUCCEEDED: ((State.RUNNING,), State.SUCCEEDED),
    Kind.FAILED: ((State.RUNNING,), State.FAILED),
    Kind.RETRIED: ((State.FAILED, State.DEAD), State.RETRYING),
    Kind.DEAD_LETTERED: ((State.FAILED, State.READY, State.RUNNING), State.DEAD),
    Kind.CANCELLED: ((State.SCHEDULED, State.READY, State.RETRYING, State.RUNNING), State.CANCELLED),
    Kind.DISCARDED: ((State.DEAD,), State.DISCARDED),
}
"""The whole machine: for each kind the states it may start from (None: it opens a job) and the state it leads to.
The README's picture is drawn from it."""


LAST_KINDS: dict[State, Kind] = {to: kind for kind, (_, to) in STEPS.items()}
"""The kind of a job's last event, by where it stands: each kind leads to a state of its own."""


class JobState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A job as its history says it is after `version` events."""

    id: UUID
    request: Request
    queue: str
    priority: Priority
    state: State
    version: int
    created_at: datetime
    updated_at: datetime
    attempt: int = 0
    """Runs so far; every lease counts."""
    retry_count: int = 0
    """Retries used of the budget since the last operator retry."""
    crash_count: int = 0
    """Leases lost to dead workers since the last operator retry."""
    requeue_count: int = 0
    requeued_at: datetime | None = None
    run_at: datetime | None = None
    ready_at: datetime | None = None
    """When it last became ready: the start of the present or last wait."""
    started_at: datetime | None = None
    completed_at: datetime | None = None
    worker_id: str | None = None
    nonce: str | None = None
    """Of the open lease; whoever records an outcome must show it."""
    delay_seconds: float | None = None
    """The last delay drawn, which decorrelated jitter starts from."""
    failure: Failed | None = None
    """The last failure since the job last started afresh."""
    death: DeadLettered | None = None
    result_body: bytes | None = None
    """What the handler returned, as JSON."""
    correlation_id: str | None = None

    @property
    def type(self) -> str:
        return self.request.type

    @property
    def payload(self) -> Any:
        """The payload, decoded anew at each call."""
        return msgspec.json.decode(self.request.payload)

    @property
    def result(self) -> Any:
        """What the handler returned, decoded anew at each call."""
        return None if self.result_body is None else msgspec.json.decode(self.result_body)

    @property
    def max_retries(self) -> int:
        return self.request.max_retries

    @property
    def metadata(self) -> dict[str, str]:
        return self.request.metadata

    @property
    def last_error(self) -> str | None:
        if self.failure is None:
            return None
        return f"{self.failure.error_type}: {self.failure.error_message}"

    @property
    def lease_version(self) -> int:
        """The fencing token's number; meaningful while running, when the lease is the last event."""
        return self.version


def open_job(entry: Entry) -> JobState:
    """Return the job that its first event opens."""
    event = entry.event
    request = event.request if isinstance(event, (Scheduled, Enqueued)) else None
    ready = isinstance(event, Enqueued)
    opened = JobState(
        id=entry.job_id,
        request=request or Request(type="unknown"),
        queue=entry.queue,
        priority=entry.priority,
        state=State.READY,
        version=entry.version,
        created_at=entry.at,
        updated_at=entry.at,
        ready_at=entry.at if ready else None,
        correlation_id=entry.trace.correlation_id or str(entry.job_id),
    )
    # What most jobs begin with needs no second step; and the first event of a job adds no crashes.
    return opened if ready and event.crash_count is None else evolve(opened, entry)


def evolve(job: JobState, entry: Entry) -> JobState:
    """Return the job after this fact. Total: any event in any state, since the past is not for us to refuse."""
    event = entry.event
    changes: dict[str, object]
    match event:
        case Scheduled():
            changes = {"state": State.SCHEDULED, "run_at": event.run_at, "worker_id": None, "nonce": None}
        case Enqueued():
            changes = {
                "state": State.READY,
                "run_at": None,
                "ready_at": entry.at,
                "worker_id": None,
                "nonce": None,
                "crash_count": job.crash_count if event.crash_count is None else event.crash_count,
            }
        case Leased():
            changes = {
                "state": State.RUNNING,
                "attempt": event.attempt,
                "started_at": entry.at,
                "worker_id": event.worker_id,
                "nonce": event.nonce,
            }
        case Succeeded():
            changes = _ended(State.SUCCEEDED, entry) | {"result_body": event.result}
        case Failed():
            changes = {"state": State.FAILED, "failure": event, "worker_id": None, "nonce": None}
        case Retried():
            changes = {
                "state": State.RETRYING,
                "run_at": event.run_at,
                "retry_count": event.retry_count,
                "delay_seconds": event.delay_seconds,
            }
            if event.requeue_count is not None:
                changes |= {
                    "crash_count": 0,
                    "requeue_count": event.requeue_count,
                    "requeued_at": entry.at,
                    "completed_at": None,
                    "delay_seconds": None,
                    "death": None,
                }
        case DeadLettered():
            changes = _ended(State.DEAD, entry) | {"death": event, "crash_count": event.crash_count}
        case Cancelled():
            changes = _ended(State.CANCELLED, entry)
        case Discarded():
            changes = _ended(State.DISCARDED, entry)
        case _:
            assert_never(event)
    changes["version"] = entry.version
    changes["updated_at"] = entry.at
    return msgspec.structs.replace(job, **changes)


def fold(history: Iterable[Entry]) -> JobState | None:
    """Return the job that these events, in version order from the first, add up to; None for no events."""
    entries = iter(history)
    first = next(entries, None)
    return None if first is None else reduce(evolve, entries, open_job(first))


def impossible(job: JobState | None, entry: Entry) -> str | None:
    """Say why no rule could have written this event here, or None when it is in order."""
    version = 0 if job is None else job.version
    if entry.version != version + 1:
        return f"version {entry.version} follows {version}"
    origins, _ = STEPS[entry.kind]
    state = None if job is None else job.state
    if state not in origins:
        return f"{entry.kind} from {state or 'nothing'}"
    return None


def _ended(state: State, entry: Entry) -> dict[str, object]:
    return {"state": state, "completed_at": entry.at, "run_at": None, "worker_id": None, "nonce": None}
