"""Jobs made from events, for tests that read given/when/then: no log, no clock, no server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from ledger.events import KINDS, NO_TRACE, Enqueued, Entry, Event, Failed, Leased, Priority, Request, Trace
from ledger.job import fold
from ledger.log import Append

if TYPE_CHECKING:
    from ledger.job import JobState

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
JOB_ID = UUID("019ab3d0-0000-7000-8000-000000000001")
REQUEST = Request(type="email.send", payload=b'{"to": "a@b.c"}', max_retries=3)
ENQUEUED = Enqueued(request=REQUEST)
LEASED = Leased("w1", 1, "nonce-1")
FAILED = Failed("ValueError", "no such address")


class FrozenClock:
    """Stands still until it is moved."""

    def __init__(self, at: datetime = NOON) -> None:
        self._at = at

    def now(self) -> datetime:
        return self._at

    def advance(self, by: timedelta) -> None:
        self._at += by


def entry(version: int, event: Event, *, at: datetime | None = None, trace: Trace = NO_TRACE) -> Entry:
    """Put an event in its place; a minute passes from version to version."""
    at = at or NOON + timedelta(minutes=version - 1)
    return Entry(version, at, JOB_ID, version, "mail", Priority.HIGH, "test", event, trace)


def history(*events: Event) -> list[Entry]:
    return [entry(version, event) for version, event in enumerate(events, start=1)]


def job(*events: Event) -> JobState:
    """Return the job to which these things happened."""
    state = fold(history(*events))
    assert state is not None
    return state


def first(job_id: UUID, *events: Event, queue: str = "mail", priority: Priority = Priority.MEDIUM) -> Append:
    """Return the append that opens a job."""
    return Append(job_id=job_id, events=events or (ENQUEUED,), queue=queue, priority=priority, actor="client:test")


def following(entries: tuple[Entry, ...], *events: Event, nonce: str | None = None, actor: str = "test") -> Append:
    """Return the append of someone who has seen exactly these entries of a job."""
    last = entries[-1]
    return Append(
        job_id=last.job_id,
        events=events,
        queue=last.queue,
        priority=last.priority,
        actor=actor,
        after_version=last.version,
        after_kind=KINDS[type(last.event)],
        nonce=nonce,
    )
