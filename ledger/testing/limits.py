"""The time limit of a run in the test modes: by the frozen clock, and by real time."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from uuid import UUID

    from ledger.running import Job
    from ledger.testing.clock import FrozenClock


class Limit:
    """One run that is under way, and when its time is over."""

    def __init__(self, job: Job, clock: FrozenClock) -> None:
        self.job = job
        self.stop: Callable[[], object] | None = None
        """Ends the handler for real, where that can be done."""
        self._clock = clock
        self._ends_at = clock.now() + job.timeout
        self._really_ends_at = time.monotonic() + job.timeout.total_seconds()

    @property
    def is_over(self) -> bool:
        return self._clock.now() > self._ends_at or time.monotonic() > self._really_ends_at

    def ask_to_stop(self) -> None:
        """Tell the handler, and end it where that can be done."""
        self.job.cancel()
        stop = self.stop
        if stop is not None:
            with suppress(RuntimeError):  # its loop has closed at this moment
                stop()


class Limits:
    """The runs that are under way; each is told when its time is over, or its job is cancelled."""

    def __init__(self, clock: FrozenClock) -> None:
        self._clock = clock
        self._running: dict[UUID, Limit] = {}
        clock.watch(self._look)

    def __getitem__(self, job: Job) -> Limit:
        return self._running[job.id]

    @contextmanager
    def of(self, job: Job) -> Generator[Limit]:
        """Watch a run, for the length of the block."""
        limit = self._running[job.id] = Limit(job, self._clock)
        timer = threading.Timer(min(job.timeout.total_seconds(), threading.TIMEOUT_MAX), limit.ask_to_stop)
        timer.daemon = True
        timer.start()
        try:
            yield limit
        finally:
            timer.cancel()
            del self._running[job.id]

    def on_cancel(self, job_id: UUID) -> None:
        """Tell the handler of a job that was cancelled while it ran."""
        if (limit := self._running.get(job_id)) is not None:
            limit.ask_to_stop()

    def _look(self) -> None:
        for limit in tuple(self._running.values()):
            if limit.is_over:
                limit.ask_to_stop()


def within(limit: Limit, call: Callable[[Job], Any]) -> Any:
    """Return what the call returns; what comes too late is a failure, as in life."""
    try:
        value = call(limit.job)
    except BaseException as error:
        if limit.is_over and isinstance(error, Exception | SystemExit | asyncio.CancelledError):
            raise limit.job.over_time() from error
        raise
    if limit.is_over:
        raise limit.job.over_time()
    return value
