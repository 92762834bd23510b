"""What a list may be narrowed by: members are ANDed, values of one are ORed; an empty tuple or None says nothing."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from ledger.events import Priority


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    ids: tuple[UUID, ...] = ()
    states: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    priorities: tuple[Priority, ...] = ()
    worker_id: str | None = None
    correlation_id: str | None = None
    schedule_id: UUID | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    oldest_first: bool = False


class DeadLetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    ids: tuple[UUID, ...] = ()
    """Of the jobs."""
    types: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    failed_after: datetime | None = None
    failed_before: datetime | None = None
    error_contains: str | None = None
    """Part of the error's type or message, in either case."""


class ExecutionFilter(msgspec.Struct, frozen=True, kw_only=True):
    job_id: UUID | None = None
    types: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    worker_id: str | None = None
    started_after: datetime | None = None
    started_before: datetime | None = None
