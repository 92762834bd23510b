"""The run a handler is in: what it is told, how it is asked to stop, and what it may say meanwhile.

A `Job` belongs to one run. The worker makes it, keeps the other end of it, and asks by `cancel`; a handler looks at
`cancelled`, waits with `wait`, and tells how far it is with `progress` and `log`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import orjson

from ledger.errors import DeadlineExceeded, JobTimeout
from ledger.outcomes import NO_RULES, ErrorRules
from ledger.texts import short, text_of

LONGEST_MESSAGE = 1000
"""Characters kept of what a handler says."""

Voice = Callable[[float | None, str | None], None]
"""Takes what a handler says: progress from 0 to 1, a message, or both."""

_FIRST_WAIT = threading.Lock()


class Token(NamedTuple):
    """The right to run this job now. It rises within a job: hand it to whatever the handler writes to, which can then
    refuse a writer that has been overtaken.

    Only where a crash of Postgres takes a lease back that was not flushed yet, the next run has the same token again.
    """

    job_id: UUID
    lease_version: int

    def __str__(self) -> str:
        return f"{self.job_id}:{self.lease_version}"


class Job(msgspec.Struct, kw_only=True, eq=False):
    """What a handler is told about the run it is in."""

    id: UUID
    type: str
    body: bytes
    """The payload as it was sent, or as it was lifted to the shape that the handler knows."""
    queue: str
    priority: str
    attempt: int
    retry_count: int
    max_retries: int
    timeout: timedelta
    """Of this run: as asked for, or what is left until the deadline."""
    metadata: Mapping[str, str]
    token: Token
    correlation_id: str
    worker_id: str
    traceparent: str | None = None
    deadline: datetime | None = None
    payload_version: int = 1
    rules: ErrorRules = NO_RULES
    """Which of its handler's exceptions are worth a retry."""
    _cancelled: bool = False
    _ends_at_deadline: bool = False
    _voice: Voice | None = None
    _stop: threading.Event | None = None
    """Made by the first `wait`: most handlers never do."""

    def __repr__(self) -> str:
        # Not the payload: what is printed ends in logs.
        return f"Job(id={str(self.id)!r}, type={self.type!r}, queue={self.queue!r}, attempt={self.attempt})"

    @property
    def payload(self) -> Any:
        """The payload, decoded anew at each call."""
        return orjson.loads(self.body)

    @property
    def cancelled(self) -> bool:
        """True once the run should stop: cancelled, over its time, or its worker is leaving. Look often."""
        return self._cancelled

    def wait(self, timeout: float) -> bool:
        """Wait up to so many seconds and return True at once when asked to stop: the sleep of a polite handler."""
        with _FIRST_WAIT:
            stop = self._stop = self._stop or threading.Event()
        return self._cancelled or stop.wait(timeout)

    def progress(self, fraction: float, message: str | None = None) -> None:
        """Tell how much is done, from 0 to 1; seen at once with `ledger job get`. Never fails, and never waits."""
        self.say(_fraction(fraction), message)

    def log(self, message: str) -> None:
        """Leave a note with the run, at most 1,000 characters; of very many the middle ones go."""
        self.say(None, message)

    def cancel(self) -> None:
        """Ask the handler to stop; for the worker."""
        self._cancelled = True  # first, so that a wait that begins at this moment sees it
        if self._stop is not None:
            self._stop.set()

    def listen(self, voice: Voice | None) -> None:
        """Hear what the handler says from here on, or nothing more; for the worker."""
        self._voice = voice

    def end_at_deadline(self, left: timedelta) -> None:
        """Cut the run short to what is left until the deadline; for the worker."""
        if left < self.timeout:
            self.timeout, self._ends_at_deadline = left, True

    def over_time(self) -> JobTimeout | DeadlineExceeded:
        """Return the error of a run that took longer than it may; for the worker."""
        if self._ends_at_deadline and self.deadline is not None:
            return DeadlineExceeded(self.deadline)
        return JobTimeout(self.timeout.total_seconds())

    def say(self, fraction: float | None, message: str | None) -> None:
        """Tell progress, a message, or both."""
        if self._voice is not None and not (fraction is None and message is None):
            self._voice(fraction, None if message is None else short(text_of(message), LONGEST_MESSAGE))


current_job: ContextVar[Job | None] = ContextVar("ledger_current_job", default=None)
"""The job whose handler is running here; what it enqueues says so in the log."""


def _fraction(value: Any) -> float | None:
    """Return the share that is done, inside its bounds; None for what is no number."""
    try:
        fraction = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(fraction) else min(max(fraction, 0.0), 1.0)
