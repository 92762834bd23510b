"""The JSON that the API, the command line and MCP show of a job and of its events: one place, so that they cannot
differ.

Every member is always there, null where there is no value. Times are RFC 3339 in UTC with microseconds. The user's own
JSON is passed through byte for byte. The results are for `orjson.dumps`, or `dumps` here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from ledger.codec import present_data, rfc3339
from ledger.job import State

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.events import Entry
    from ledger.job import JobState

Resource = dict[str, Any]


def job_resource(job: JobState, *, payload: bool = True) -> Resource:
    """Return the resource Job; without `payload`, that member is null."""
    request = job.request
    return {
        "id": str(job.id),
        "type": request.type,
        "payload": orjson.Fragment(request.payload) if payload else None,
        "queue": job.queue,
        "priority": job.priority.word,
        # Between `failed` and what follows it in the same append a job is only seen by asking for that very version.
        "state": (State.RUNNING if job.state is State.FAILED else job.state).value,
        "version": job.version,
        "attempt": job.attempt,
        "max_retries": request.max_retries,
        "retry_count": job.retry_count,
        "crash_count": job.crash_count,
        "timeout_seconds": request.timeout_seconds,
        "retry": {
            "backoff": request.retry.backoff,
            "base_seconds": request.retry.base_seconds,
            "max_seconds": request.retry.max_seconds,
            "jitter": request.retry.jitter,
        },
        "scheduled_at": time(request.scheduled_at),
        "run_at": time(job.run_at),
        "expires_at": time(request.expires_at),
        "deadline": time(request.deadline),
        "created_at": time(job.created_at),
        "started_at": time(job.started_at),
        "completed_at": time(job.completed_at),
        "last_error": job.last_error,
        "result": None if job.result_body is None else orjson.Fragment(job.result_body),
        "worker_id": job.worker_id,
        "metadata": request.metadata,
        "idempotency_key": request.idempotency_key,
        "correlation_id": job.correlation_id,
        "schedule_id": None if request.schedule_id is None else str(request.schedule_id),
        "tick_at": time(request.tick_at),
    }


def event_resource(entry: Entry) -> Resource:
    """Return the resource Event."""
    return {
        "position": entry.position,
        "job_id": str(entry.job_id),
        "version": entry.version,
        "kind": entry.kind.value,
        "at": rfc3339(entry.at),
        "queue": entry.queue,
        "priority": entry.priority.word,
        "actor": entry.actor,
        "data": present_data(entry.event),
        "schema_version": entry.schema_version,
        "correlation_id": entry.trace.correlation_id,
        "causation_id": entry.trace.causation_id,
        "traceparent": entry.trace.traceparent,
    }


def time(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


def dumps(resource: Any) -> bytes:
    """Return the resource as JSON; the numbers and spaces of the user's own JSON stay as they were sent."""
    return orjson.dumps(resource)
