"""What the old system's records mean here. Pure; what cannot be taken raises, and says why.

A job that had not ended is taken as not begun, with a whole budget of retries: one that was being run, and one between
two runs, are ready; one that waited waits on. What the old system put into the user's metadata for itself is left out.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from ledger import strict_json
from ledger.codec import rfc3339
from ledger.events import Failed, Priority

if TYPE_CHECKING:
    from ledger_migrations.job_queue.source import Row, StoredJob

ENDED = frozenset({"completed", "cancelled"})
IMPORTED_ID = "imported_id"
OLD_BOOKKEEPING = ("stream", "message_id")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOSECONDS = 1_000_000_000


class Wish(msgspec.Struct, frozen=True):
    """A job to make: the members of a request, the payload as it was, and what it died of, if it is dead."""

    old_id: str
    members: dict[str, Any]
    payload: bytes
    failure: Failed | None = None


class OldJob(msgspec.Struct, frozen=True):
    """A job as Go wrote it; a time-out is in nanoseconds."""

    id: str
    type: str = ""
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    queue: str = "default"
    priority: str = "medium"
    max_retries: int = 3
    timeout: int = 0
    scheduled_at: str | None = None
    last_error: str = ""
    state: str = "pending"
    metadata: dict[str, str] | None = None


def key_of(old_id: str) -> str:
    """Return the idempotency key that stands for a job of the old system."""
    return f"import:job-queue:{old_id}"


def job(stored: StoredJob) -> Wish | None:
    """Return what becomes of a job in Redis; None where it has ended."""
    old = msgspec.json.decode(stored.text, type=OldJob)
    if old.state in ENDED:
        return None
    members = _members(old.id, old.type, old.queue, old.priority, old.max_retries, old.metadata)
    if old.timeout > 0:
        members["timeout_seconds"] = old.timeout / _NANOSECONDS
    payload = _payload(bytes(old.payload))
    if old.state == "dead":
        return Wish(old.id, members, payload, _failure(old.last_error, None))
    if stored.due is not None:
        members["scheduled_at"] = rfc3339(_EPOCH + timedelta(seconds=stored.due))
    elif old.state == "scheduled" and old.scheduled_at is not None:
        members["scheduled_at"] = old.scheduled_at
    return Wish(old.id, members, payload)


def dead_letter(row: Row) -> Wish | None:
    """Return what becomes of a dead letter; None where it was put back into its queue after it had died."""
    if row["requeued_at"] is not None and row["requeued_at"] >= row["failed_at"]:
        return None
    members = _members(
        row["job_id"], row["job_type"], row["queue"], row["priority"], row["max_retries"], _labels(row["metadata"])
    )
    return Wish(
        row["job_id"], members, _payload(row["payload"].encode()), _failure(row["error_message"], row["stack_trace"])
    )


def schedule(row: Row) -> tuple[dict[str, Any], bytes]:
    """Return the request that makes a schedule, and its payload."""
    names = ("name", "job_type", "cron_expression", "timezone", "queue", "max_retries", "timeout_seconds", "is_active")
    members: dict[str, Any] = {name: row[name] for name in names if row[name] is not None}
    members |= {"priority": _priority(row["priority"]), "metadata": {IMPORTED_ID: row["id"]}}
    return members, _payload((row["payload"] or "null").encode())


def _members(
    old_id: str, type_: str, queue: str, priority: str, max_retries: int, metadata: dict[str, str] | None
) -> dict[str, Any]:
    kept = {name: value for name, value in (metadata or {}).items() if name not in OLD_BOOKKEEPING}
    return {
        "type": type_,
        "queue": queue,
        "priority": _priority(priority),
        "max_retries": max_retries,
        "metadata": {**kept, IMPORTED_ID: old_id},
        "idempotency_key": key_of(old_id),
    }


def _priority(word: str | None) -> str:
    """Return the priority; the old system took a word it did not know for medium."""
    return word if word in {level.word for level in Priority} else "medium"


def _payload(text: bytes) -> bytes:
    if text.strip() == b"null":
        return b"{}"
    strict_json.decode(text)
    return text


def _labels(text: str | None) -> dict[str, str]:
    return {} if text is None else msgspec.json.decode(text, type=dict[str, str] | None) or {}


def _failure(message: str | None, stack_trace: str | None) -> Failed:
    return Failed("JobQueueError", message or "died in job-queue, which did not say of what", stack_trace)
