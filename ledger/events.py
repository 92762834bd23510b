"""The facts of a job's life: one frozen type a kind, in the past tense, and nothing else may happen to a job.

An event says what it adds and no more: the first one of a job carries the whole `Request`, a later one only its own
news. `Entry` is an event in its place in the log, with who wrote it and when. The union `Event` is closed: code that
takes one apart ends in `assert_never`, so a new kind cannot be forgotten anywhere.
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Literal
from uuid import UUID

import msgspec


class Kind(StrEnum):
    """The name of an event, as the log and every reader spell it."""

    SCHEDULED = "scheduled"
    ENQUEUED = "enqueued"
    LEASED = "leased"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "retried"
    DEAD_LETTERED = "dead_lettered"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"


class Priority(IntEnum):
    """Four real levels; inside a queue the lower number always goes first."""

    CRITICAL = 0
    HIGH = 1
    MEDIUM = 2
    LOW = 3

    @property
    def word(self) -> str:
        return _WORDS[self]

    @classmethod
    def from_word(cls, word: str) -> Priority:
        """Return the level so named; raise KeyError for anything but the four words."""
        return _PRIORITIES[word]


_WORDS = tuple(level.name.lower() for level in Priority)
_PRIORITIES = dict(zip(_WORDS, Priority, strict=True))

Backoff = Literal["constant", "linear", "exponential"]
Jitter = Literal["none", "full", "equal", "decorrelated"]
EnqueueReason = Literal["due", "shutdown", "lease_expired", "unknown_type", "retry", "run_now"]
CancelCause = Literal["requested", "expired", "overlap"]
DeathReason = Literal["retries_exhausted", "permanent", "poison"]


class RetryPolicy(msgspec.Struct, frozen=True, gc=False):
    """How long to wait before each retry; the formulas are in `ledger.backoff`."""

    backoff: Backoff = "exponential"
    base_seconds: float = 10.0
    max_seconds: float = 3600.0
    jitter: Jitter = "equal"


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the user asked for: the content of a job's first event, complete, so that later changes of defaults or
    settings never change a job that is already on record.
    """

    type: str
    payload: bytes = b"{}"
    """The JSON exactly as it was sent."""
    max_retries: int = 3
    timeout_seconds: float = 300.0
    retry: RetryPolicy = RetryPolicy()
    scheduled_at: datetime | None = None
    expires_at: datetime | None = None
    """If it has not started by then, it is cancelled."""
    deadline: datetime | None = None
    """It is never run past this moment, begun or not."""
    metadata: dict[str, str] = {}
    idempotency_key: str | None = None
    schedule_id: UUID | None = None
    tick_at: datetime | None = None
    payload_version: int = 1
    """Which shape of its type's payload this is; an old one is lifted when the handler is called."""

    @property
    def start_by(self) -> datetime | None:
        """The moment after which a job that waits is not started any more."""
        return min((at for at in (self.expires_at, self.deadline) if at is not None), default=None)


class Scheduled(msgspec.Struct, frozen=True, gc=False):
    """The job waits for `run_at`: as asked for when it was made, or because its handler snoozed."""

    run_at: datetime
    request: Request | None = None
    reason: str | None = None


class Enqueued(msgspec.Struct, frozen=True, gc=False):
    """The job is ready, and from now on a dispatch stream: enqueued ⇔ dispatched."""

    request: Request | None = None
    reason: EnqueueReason | None = None
    note: str | None = None
    """What the operator said who asked for it now."""
    crash_count: int | None = None
    """With `lease_expired`: how many workers this job has lost by now."""


class Leased(msgspec.Struct, frozen=True, gc=False):
    """One worker may run the job once. (job_id, version) is the fencing token; the nonce makes it unrepeatable even
    where a crash of Postgres took the first holder's event away.
    """

    worker_id: str
    attempt: int
    nonce: str
    ready_at: datetime | None = None
    """When the job had become ready: said again here, so that no reader has to look it up."""


class Succeeded(msgspec.Struct, frozen=True, gc=False):
    duration_ms: float
    result: bytes | None = None
    """What the handler returned, as JSON."""


class Failed(msgspec.Struct, frozen=True, gc=False):
    """A run ended badly. Never the last word: `Retried` or `DeadLettered` follows in the same append."""

    error_type: str
    error_message: str
    stack_trace: str | None = None
    duration_ms: float | None = None


class Retried(msgspec.Struct, frozen=True, gc=False):
    """The job gets another run at `run_at`, out of its budget or (with `requeue_count`) by an operator's word."""

    run_at: datetime
    delay_seconds: float
    retry_count: int
    reason: str | None = None
    requeue_count: int | None = None


class DeadLettered(msgspec.Struct, frozen=True, gc=False):
    reason: DeathReason
    retry_count: int
    crash_count: int
    detail: str | None = None


class Cancelled(msgspec.Struct, frozen=True, gc=False):
    cause: CancelCause
    reason: str | None = None


class Discarded(msgspec.Struct, frozen=True, gc=False):
    reason: str | None = None


Event = Scheduled | Enqueued | Leased | Succeeded | Failed | Retried | DeadLettered | Cancelled | Discarded

KINDS: dict[type[msgspec.Struct], Kind] = {
    Scheduled: Kind.SCHEDULED,
    Enqueued: Kind.ENQUEUED,
    Leased: Kind.LEASED,
    Succeeded: Kind.SUCCEEDED,
    Failed: Kind.FAILED,
    Retried: Kind.RETRIED,
    DeadLettered: Kind.DEAD_LETTERED,
    Cancelled: Kind.CANCELLED,
    Discarded: Kind.DISCARDED,
}


class Trace(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Where an event comes from: what belongs together, what caused it, and the W3C trace it is part of."""

    correlation_id: str | None = None
    causation_id: str | None = None
    """`<job_id>:<version>` of the event that led to this one."""
    traceparent: str | None = None


NO_TRACE = Trace()


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An event in its place: the row of the log, decoded."""

    position: int
    at: datetime
    job_id: UUID
    version: int
    queue: str
    priority: Priority
    actor: str
    event: Event
    trace: Trace = NO_TRACE
    schema_version: int = 1

    @property
    def kind(self) -> Kind:
        return KINDS[type(self.event)]
