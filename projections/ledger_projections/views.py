"""What readers are shown: one frozen type a resource, with the members of the HTTP resource of that name.

Ages and durations come from Postgres' clock, so two machines never disagree about how late a queue is. `resource` turns
a view into the JSON object that the API and the command line print.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import orjson

from ledger.codec import rfc3339
from ledger.events import DeathReason, Priority


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is dead now, with its last failure."""

    id: str
    """`<job_id>:<version of dead_lettered>`: names this death, not a later one of the same job."""
    job_id: UUID
    version: int
    job_type: str
    queue: str
    payload: bytes
    priority: Priority
    reason: DeathReason
    error_type: str | None
    error_message: str | None
    stack_trace: str | None
    attempt: int
    retry_count: int
    max_retries: int
    crash_count: int
    original_created_at: datetime
    failed_at: datetime
    requeued_at: datetime | None
    requeue_count: int
    metadata: dict[str, str]


class JobExecution(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a job: an attempt."""

    id: str
    """`<job_id>:<lease version>`: the fencing token."""
    job_id: UUID
    lease_version: int
    job_type: str
    queue: str
    priority: Priority
    payload: bytes
    state: str
    attempt: int
    max_retries: int
    error_type: str | None
    error_message: str | None
    stack_trace: str | None
    worker_id: str
    created_at: datetime
    started_at: datetime
    completed_at: datetime | None
    wait_ms: float | None
    duration_ms: float | None


class QueueInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A queue now. `depth` counts the ready jobs only."""

    name: str
    depth: int = 0
    scheduled: int = 0
    ready: int = 0
    running: int = 0
    retrying: int = 0
    dead: int = 0
    oldest_ready_age_seconds: float | None = None
    paused: bool = False
    paused_at: datetime | None = None
    paused_by: str | None = None
    pause_reason: str | None = None


class Percentiles(msgspec.Struct, frozen=True):
    """Of a duration, in seconds, known to within the width of a histogram bucket; None where nothing was measured."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


class DepthByPriority(msgspec.Struct, frozen=True):
    critical: int = 0
    high: int = 0
    medium: int = 0
    low: int = 0


class QueueStats(QueueInfo, frozen=True, kw_only=True):
    """A queue now, and what went through it in the window."""

    queue: str
    depth_by_priority: DepthByPriority
    window_seconds: float
    enqueued: int
    succeeded: int
    failed: int
    retried: int
    dead_lettered: int
    cancelled: int
    crashed: int
    throughput_per_second: float
    wait_seconds: Percentiles
    run_seconds: Percentiles


class ExecutionCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The attempts started in the last 24 hours."""

    total: int
    succeeded: int
    completed: int
    """= `succeeded`, the original's name for it."""
    failed: int
    dead: int
    snoozed: int
    released: int
    crashed: int
    cancelled: int
    running: int
    avg_duration_ms: float


class JobCounts(msgspec.Struct, frozen=True, kw_only=True):
    scheduled: int
    ready: int
    running: int
    retrying: int
    dead: int


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """The whole system in three numbers' worth."""

    executions_24h: ExecutionCounts
    dead_letter_count: int
    jobs: JobCounts


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process, as its heartbeats show it."""

    id: str
    hostname: str
    pid: int
    version: str
    queues: list[str]
    concurrency: int
    running: int
    started_at: datetime
    heartbeat_at: datetime
    alive: bool
    stopping: bool


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """How far a projection has read. `stopped`: it has something to read and does not read it."""

    name: str
    version: int
    status: str
    position: int
    head: int
    lag_events: int
    lag_seconds: float
    parked: int


def resource(view: msgspec.Struct) -> dict[str, Any]:
    """Return the JSON object of a view, ready for orjson: times in RFC 3339, the user's own JSON byte for byte."""
    return {name: _json(value) for name, value in msgspec.structs.asdict(view).items()}


def _json(value: Any) -> Any:
    match value:
        case Priority():
            return value.word
        case datetime():
            return rfc3339(value)
        case UUID():
            return str(value)
        case bytes():
            return orjson.Fragment(value)
        case msgspec.Struct():
            return resource(value)
        case list():
            return [_json(each) for each in value]
        case _:
            return value
