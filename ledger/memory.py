"""The log in memory: the same contract without a server, for the inline and manual test modes.

One lock stands where Postgres has its primary key. Nothing outlives the process, no transaction of anybody
else is ever open, so `Blocked` is never answered.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ledger.events import Enqueued, Entry, Event, Kind, Leased, Scheduled
from ledger.log import Append, Conflict, Lease, Outcome, Recorded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from ledger.runtime.clock import Clock


class MemoryLog:
    """Keeps the contract of `ledger.log.Log`; safe to share by threads."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._histories: dict[UUID, list[Entry]] = {}

    def append(self, appends: Sequence[Append]) -> list[Outcome]:
        with self._lock:
            return [self._append(append) for append in appends]

    def lease(self, leases: Sequence[Lease], worker_id: str) -> list[tuple[Entry, ...]]:
        with self._lock:
            return [tuple(self._histories[wish.job_id]) for wish in leases if self._lease(wish, worker_id)]

    def history(self, job_id: UUID) -> tuple[Entry, ...]:
        return self.histories([job_id]).get(job_id, ())

    def histories(self, job_ids: Iterable[UUID]) -> dict[UUID, tuple[Entry, ...]]:
        with self._lock:
            return {job_id: tuple(self._histories[job_id]) for job_id in job_ids if job_id in self._histories}

    def entries(self) -> tuple[Entry, ...]:
        """Return the whole log in the order of positions."""
        with self._lock:
            return tuple(self._entries)

    def _append(self, append: Append) -> Outcome:
        if not append.events or not self._follows(append):
            return Conflict(append.job_id, append.after_version + 1)
        last = [self._write(append, event) for event in append.events][-1]
        return Recorded(last.job_id, last.version, last.position, last.at)

    def _follows(self, append: Append) -> bool:
        history = self._histories.get(append.job_id, [])
        if len(history) != append.after_version:
            return False
        if not history:
            return True
        last = history[-1]
        nonce = last.event.nonce if isinstance(last.event, Leased) else None
        return last.kind is append.after_kind and append.nonce in (None, nonce)

    def _lease(self, wish: Lease, worker_id: str) -> bool:
        history = self._histories.get(wish.job_id)
        if not history or _has_expired(history[0], self.clock.now()):
            return False
        attempt = 1 + sum(isinstance(entry.event, Leased) for entry in history)
        append = Append(
            job_id=wish.job_id,
            events=(Leased(worker_id, attempt, wish.nonce, history[-1].at),),
            queue=history[0].queue,
            priority=history[0].priority,
            actor=f"worker:{worker_id}",
            after_version=wish.version,
            after_kind=Kind.ENQUEUED,
        )
        return isinstance(self._append(append), Recorded)

    def _write(self, append: Append, event: Event) -> Entry:
        history = self._histories.setdefault(append.job_id, [])
        entry = Entry(
            position=len(self._entries) + 1,
            at=self.clock.now(),
            job_id=append.job_id,
            version=len(history) + 1,
            queue=append.queue,
            priority=append.priority,
            actor=append.actor,
            event=event,
            trace=append.trace,
        )
        self._entries.append(entry)
        history.append(entry)
        return entry


def _has_expired(opening: Entry, now: datetime) -> bool:
    event = opening.event
    request = event.request if isinstance(event, (Enqueued, Scheduled)) else None
    return request is not None and request.expires_at is not None and request.expires_at <= now
