"""The read models' columns, declared for composed reads. Their DDL is beside each projection, and a test compares."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, Double, Integer, MetaData, SmallInteger, Table, Text, Uuid

from ledger.tables import READ

METADATA = MetaData()

_TIME = DateTime(timezone=True)

JOBS = Table(
    "jobs",
    METADATA,
    Column("job_id", Uuid, primary_key=True),
    Column("type", Text),
    Column("queue", Text),
    Column("priority", SmallInteger),
    Column("state", Text),
    Column("version", Integer),
    Column("created_at", _TIME),
    Column("worker_id", Text),
    Column("correlation_id", Text),
    Column("schedule_id", Uuid),
    schema=READ,
)

BIRTHS = Table(
    "job_births",
    METADATA,
    Column("job_id", Uuid),
    Column("created_at", _TIME),
    Column("type", Text),
    Column("queue", Text),
    Column("priority", SmallInteger),
    Column("correlation_id", Text),
    Column("schedule_id", Uuid),
    schema=READ,
)

DEAD_LETTERS = Table(
    "dead_letters",
    METADATA,
    Column("job_id", Uuid, primary_key=True),
    Column("version", Integer),
    Column("type", Text),
    Column("queue", Text),
    Column("priority", SmallInteger),
    Column("reason", Text),
    Column("error_type", Text),
    Column("error_message", Text),
    Column("stack_trace", Text),
    Column("attempt", Integer),
    Column("retry_count", Integer),
    Column("max_retries", Integer),
    Column("crash_count", Integer),
    Column("original_created_at", _TIME),
    Column("failed_at", _TIME),
    Column("requeued_at", _TIME),
    Column("requeue_count", Integer),
    schema=READ,
)

ATTEMPTS = Table(
    "attempts",
    METADATA,
    Column("job_id", Uuid, primary_key=True),
    Column("lease_version", Integer, primary_key=True),
    Column("attempt", Integer),
    Column("queue", Text),
    Column("priority", SmallInteger),
    Column("state", Text),
    Column("error_type", Text),
    Column("error_message", Text),
    Column("stack_trace", Text),
    Column("worker_id", Text),
    Column("created_at", _TIME),
    Column("started_at", _TIME),
    Column("completed_at", _TIME),
    Column("wait_ms", Double),
    Column("duration_ms", Double),
    schema=READ,
)
