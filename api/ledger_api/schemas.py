"""The resources that the API answers with, as the types its description publishes.

They describe and build nothing: what is sent comes from `ledger.resources` and the views of the read door, and the
tests hold every answer against these types. A member is always there, null where there is no value; clients ignore the
ones they do not know, for there may be more some day.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from ledger import events, fields
from ledger.events import DeathReason, Kind

Count = Annotated[int, Meta(ge=0)]
Time = Annotated[datetime, Meta(tz=True)]
Version = Annotated[int, Meta(ge=1, description="The place of the last event in the job's history; also its ETag.")]
Priority = Annotated[Literal["critical", "high", "medium", "low"], Meta(examples=["high"])]
JobId = Annotated[UUID, Meta(description="A UUIDv7.", examples=["01980000-0000-7000-8000-000000000000"])]
JobPayload = Annotated[dict[str, Any], Meta(description="The bytes as they were sent.", examples=[{"to": "a@b.c"}])]
FencingToken = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-f-]{36}:[1-9][0-9]*$",
        description="`<job id>:<version>`.",
        examples=["01980000-0000-7000-8000-000000000000:2"],
    ),
]


class Delays(Struct):
    """How long the job waits before each retry."""

    backoff: events.Backoff
    base_seconds: float
    max_seconds: float
    jitter: events.Jitter


class Job(Struct):
    """A job as its history says it is."""

    id: JobId
    type: Annotated[str, Meta(examples=["email.send"])]
    payload: JobPayload | None
    queue: str
    priority: Priority
    state: Literal["scheduled", "ready", "running", "retrying", "succeeded", "dead", "cancelled", "discarded"]
    version: Version
    attempt: Annotated[int, Meta(ge=0, description="Runs so far; every lease counts.")]
    max_retries: Count
    retry_count: Annotated[int, Meta(ge=0, description="Retries used of the budget.")]
    crash_count: Annotated[int, Meta(ge=0, description="Leases lost to dead workers since the last operator retry.")]
    timeout_seconds: Annotated[float, Meta(gt=0)]
    retry: Delays
    scheduled_at: Annotated[Time, Meta(description="As asked for; never erased.")] | None
    run_at: Annotated[Time, Meta(description="When it is next due; only in scheduled and retrying.")] | None
    expires_at: Time | None
    deadline: Time | None
    created_at: Time
    started_at: Annotated[Time, Meta(description="Of the last run.")] | None
    completed_at: Time | None
    last_error: str | None
    result: Annotated[Any, Meta(description="What the handler returned.")]
    worker_id: Annotated[str, Meta(description="Only while running.")] | None
    metadata: fields.Metadata
    idempotency_key: str | None
    correlation_id: str | None
    schedule_id: UUID | None
    tick_at: Annotated[Time, Meta(description="The tick of cron that made it.")] | None


class DeletedJob(Job):
    """The job after DELETE. Nothing is erased: it is cancelled, or discarded, and its history stays."""

    status: Literal["deleted"]


class Event(Struct):
    """One fact of a job's life."""

    position: Annotated[int, Meta(ge=1, description="Its place in the whole log.")]
    job_id: JobId
    version: Version
    kind: Kind
    at: Time
    queue: str
    priority: Priority
    actor: Annotated[str, Meta(description="Who did it.", examples=["api:billing", "worker:w1", "scheduler"])]
    data: Annotated[dict[str, Any], Meta(description="What this kind of event adds.")]
    schema_version: Count
    correlation_id: str | None
    causation_id: Annotated[str, Meta(description="`<job id>:<version>` of the cause.")] | None
    traceparent: str | None


class Note(Struct):
    """One thing that a job's handler said while it ran."""

    lease_version: Version
    attempt: Annotated[int, Meta(ge=1)] | None
    number: Annotated[int, Meta(ge=1, description="1, 2, 3 … within the run; of very many the middle ones go.")]
    at: Time
    progress: Annotated[float, Meta(ge=0, le=1)] | None
    message: Annotated[str, Meta(max_length=1000)] | None


class JobExecution(Struct):
    """One run of a job: an attempt."""

    id: FencingToken
    job_id: JobId
    lease_version: Version
    job_type: str
    queue: str
    priority: Priority
    payload: JobPayload
    state: Annotated[
        Literal["running", "succeeded", "failed", "dead", "snoozed", "released", "crashed", "cancelled"],
        Meta(description="`failed`: will be retried; `dead`: failed for good."),
    ]
    attempt: Annotated[int, Meta(ge=1)]
    max_retries: Count
    error_type: str | None
    error_message: str | None
    stack_trace: str | None
    worker_id: str
    created_at: Annotated[Time, Meta(description="When the job was made ready.")]
    started_at: Time
    completed_at: Time | None
    wait_ms: float | None
    duration_ms: float | None


class DeadLetter(Struct):
    """A job that is dead now, with its last failure."""

    id: FencingToken
    job_id: JobId
    version: Version
    job_type: str
    queue: str
    payload: JobPayload
    priority: Priority
    reason: DeathReason
    error_type: str | None
    error_message: str | None
    stack_trace: str | None
    attempt: Count
    retry_count: Count
    max_retries: Count
    crash_count: Count
    original_created_at: Time
    failed_at: Time
    requeued_at: Annotated[Time, Meta(description="The last retry by an operator.")] | None
    requeue_count: Count
    metadata: fields.Metadata


class QueueInfo(Struct):
    """A queue now."""

    name: str
    depth: Annotated[int, Meta(ge=0, description="= `ready`")]
    scheduled: Count
    ready: Count
    running: Count
    retrying: Count
    dead: Count
    oldest_ready_age_seconds: Annotated[float, Meta(ge=0)] | None
    paused: bool
    paused_at: Time | None
    paused_by: str | None
    pause_reason: str | None


class DepthByPriority(Struct):
    """Ready jobs."""

    critical: Count
    high: Count
    medium: Count
    low: Count


class Percentiles(Struct):
    """Seconds; null where nothing was measured."""

    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class QueueStats(QueueInfo):
    """A queue now, and what went through it in the window."""

    queue: Annotated[str, Meta(description="= `name`")]
    depth_by_priority: DepthByPriority
    window_seconds: float
    enqueued: Count
    succeeded: Count
    failed: Count
    retried: Count
    dead_lettered: Count
    cancelled: Count
    crashed: Count
    throughput_per_second: Annotated[float, Meta(ge=0, description="Of succeeded jobs.")]
    wait_seconds: Percentiles
    run_seconds: Percentiles


class QueueDepth(Struct):
    """How many jobs of a queue are ready."""

    queue: str
    depth: Count


class ExecutionCounts(Struct):
    """The attempts started in the last 24 hours."""

    total: Annotated[int, Meta(ge=0, description="Of all below but `completed`.")]
    succeeded: Count
    completed: Annotated[int, Meta(ge=0, description="= `succeeded`, the old name.")]
    failed: Count
    dead: Count
    snoozed: Count
    released: Count
    crashed: Count
    cancelled: Count
    running: Count
    avg_duration_ms: Annotated[float, Meta(ge=0)]


class JobCounts(Struct):
    """Jobs that have not ended, and dead ones."""

    scheduled: Count
    ready: Count
    running: Count
    retrying: Count
    dead: Count


class Stats(Struct):
    """The whole system."""

    executions_24h: ExecutionCounts
    dead_letter_count: Count
    jobs: JobCounts


class Schedule(Struct):
    """A cron schedule."""

    id: UUID
    name: str
    version: Annotated[int, Meta(ge=1, description="Rises with every change; also its ETag.")]
    job_type: str
    payload: JobPayload
    cron_expression: Annotated[str, Meta(examples=["0 8 * * mon-fri"])]
    timezone: Annotated[str, Meta(examples=["Europe/Berlin"])]
    queue: str
    priority: Priority
    max_retries: Count
    timeout_seconds: Annotated[float, Meta(gt=0)]
    metadata: fields.Metadata
    is_active: bool
    catch_up: Literal["skip", "once", "all"]
    catch_up_window_seconds: Annotated[float, Meta(ge=0)]
    overlap: Literal["allow", "skip", "cancel_previous"]
    origin: Annotated[Literal["api", "code"], Meta(description="Who defines it: `code` is an application.")]
    last_run_at: Time | None
    last_run_status: Literal["enqueued", "skipped_overlap", "skipped_missed"] | None
    last_job_id: UUID | None
    next_run_at: Annotated[Time, Meta(description="null when paused.")] | None
    created_at: Time
    updated_at: Time


class DeletedSchedule(Schedule):
    """The schedule that is no more; its jobs stay."""

    status: Literal["deleted"]


class Tick(Struct):
    """A moment at which a schedule fires."""

    at: Annotated[Time, Meta(description="In UTC.")]
    local: Annotated[Time, Meta(description="The same instant in the schedule's time zone.")]


class Worker(Struct):
    """A worker process, as its heartbeats show it."""

    id: str
    hostname: str
    pid: int
    version: str
    queues: list[str]
    concurrency: Count
    running: Count
    started_at: Time
    heartbeat_at: Time
    alive: bool
    stopping: bool


class Projection(Struct):
    """How far a projection has read the log."""

    name: str
    version: Count
    status: Literal["live", "building", "stopped"]
    position: Count
    head: Count
    lag_events: Count
    lag_seconds: Annotated[float, Meta(ge=0)]
    parked: Annotated[int, Meta(ge=0, description="Jobs set aside, for an event of theirs could not be folded.")]


class Breach(Struct, omit_defaults=True):
    """One thing that is wrong with the request: a member of the body, or a parameter or header."""

    detail: str
    pointer: Annotated[str, Meta(description="JSON Pointer into the body.", examples=["/retry/base"])] | UnsetType = (
        UNSET
    )
    parameter: Annotated[str, Meta(description="Name of a query parameter or header.")] | UnsetType = UNSET


class Checks(Struct):
    """What a probe found."""

    postgres: Literal["ok", "unavailable"]
    migrations: Literal["ok", "pending", "unknown"]
    redis: Literal["ok", "unavailable"]


class Problem(Struct, omit_defaults=True):
    """A refusal, as RFC 9457 has it. `code` never changes; the prose may."""

    type: Annotated[str, Meta(examples=["urn:ledger:problem:validation_failed"])]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    instance: Annotated[str, Meta(description="The path of the request.")]
    code: str
    error: Annotated[str, Meta(description="= `detail`, for clients of job-queue.")]
    request_id: str
    errors: list[Breach]
    state: Annotated[str, Meta(description="With `state_conflict`: where the job stands.")] | UnsetType = UNSET
    version: Annotated[int, Meta(description="With 409 and 412: the present version.")] | UnsetType = UNSET
    checks: Annotated[Checks, Meta(description="With 503 of a probe.")] | UnsetType = UNSET


class BulkItem(Struct):
    """What became of one job of the request."""

    index: Count
    status: Literal[201, 409, 413, 422]
    id: UUID | None
    version: int | None
    replayed: bool
    problem: Problem | None


class BulkEnqueue(Struct):
    """What became of every job, in the order of the request."""

    created: Count
    replayed: Count
    refused: Count
    results: list[BulkItem]


class BulkRefusal(Struct):
    """A job that matched and could not be changed."""

    id: str
    status: int
    code: str
    detail: str


class BulkResult(Struct):
    """What a change of many jobs did, or would do."""

    operation_id: UUID
    dry_run: bool
    matched: Count
    changed: Count
    remaining: Annotated[int, Meta(ge=0, description="More than 0: send the request again for the rest.")]
    refused: list[BulkRefusal]
    sample: Annotated[list[UUID], Meta(max_length=10)]


class Alive(Struct):
    """The process answers."""

    status: Literal["ok"]


class Ready(Struct):
    """Requests can be served."""

    status: Literal["ready"]
    checks: Checks


class Started(Struct):
    """The process has been ready once."""

    status: Literal["started"]
