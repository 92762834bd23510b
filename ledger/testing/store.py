"""The store without a server: a log in memory with idempotency keys, where every transaction has committed at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ledger.errors import IdempotencyConflict, JobExists, LedgerError
from ledger.events import Cancelled
from ledger.log import Recorded
from ledger.opening import Made, opened, taken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from ledger.events import Entry
    from ledger.log import Append, Outcome
    from ledger.memory import MemoryLog
    from ledger.notes import Note
    from ledger.requests import Submission
    from ledger.testing.runner import Runner

    Key = tuple[UUID, bytes, datetime]


class MemoryStore:
    """Keeps the contract of `ledger.store.Store`; a caller's `connection` is not looked at."""

    def __init__(self, log: MemoryLog, ttl: Callable[[], timedelta], runner: Runner) -> None:
        self._log = log
        self._ttl = ttl
        self._runner = runner
        self._lock = threading.Lock()
        self._keys: dict[str, Key] = {}

    def make_each(self, wanted: Sequence[Submission], appends: Sequence[Append]) -> list[Made | LedgerError]:
        answers: list[Made | LedgerError] = []
        for submission, append in zip(wanted, appends, strict=True):
            try:
                answers += self.make_all([submission], [append], None)
            except LedgerError as error:
                answers.append(error)
        return answers

    def make_all(self, wanted: Sequence[Submission], appends: Sequence[Append], connection: Any) -> list[Made]:
        del connection
        with self._lock:
            keys = dict(self._keys)
            earlier = [
                self._claim(keys, submission, append.job_id) for submission, append in zip(wanted, appends, strict=True)
            ]
            fresh = [append for append, known in zip(appends, earlier, strict=True) if known is None]
            self._refuse_taken(fresh)
            recorded = iter(taken(self._log.append(fresh)))
            self._keys = keys
        return [
            Made(append.job_id, opened(append, next(recorded))) if known is None else Made(known, replayed=True)
            for append, known in zip(appends, earlier, strict=True)
        ]

    def append(self, append: Append, connection: Any) -> Outcome:
        del connection
        (outcome,) = self._log.append([append])
        if isinstance(outcome, Recorded) and isinstance(append.events[-1], Cancelled):
            self._runner.limits.on_cancel(append.job_id)
        return outcome

    def history(self, job_id: UUID, connection: Any) -> tuple[Entry, ...]:
        del connection
        return self._log.history(job_id)

    def notes(self, job_id: UUID) -> list[Note]:
        return self._runner.notebook.of(job_id)

    def _claim(self, keys: dict[str, Key], submission: Submission, job_id: UUID) -> UUID | None:
        """Take the request's key for this job, or return the job it stands for already."""
        key = submission.request.idempotency_key
        if key is None:
            return None
        now = self._log.clock.now()
        owner, fingerprint, since = keys.setdefault(key, (job_id, submission.fingerprint, now))
        if since < now - self._ttl():
            keys[key] = (job_id, submission.fingerprint, now)
            return None
        if fingerprint != submission.fingerprint:
            raise IdempotencyConflict(key, owner)
        return None if owner == job_id else owner

    def _refuse_taken(self, appends: Sequence[Append]) -> None:
        seen = set(self._log.histories([append.job_id for append in appends]))
        for append in appends:
            if append.job_id in seen:
                raise JobExists(append.job_id)
            seen.add(append.job_id)
