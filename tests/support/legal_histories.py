"""Random jobs that only ever do what the rules allow: every next step comes from `ledger.commands`."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING
from uuid import UUID

from hypothesis import strategies as st

from ledger import commands
from ledger.events import NO_TRACE, Entry, Failed, Priority, Request, Trace
from ledger.ids import mint
from ledger.job import JobState, State, fold
from tests.support.histories import NOON

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ledger.events import Event

SCHEDULE_ID = UUID("019ab3d0-0000-7000-8000-0000000000cc")
LATER = NOON + timedelta(hours=1)
_TWO_HOURS = timedelta(hours=2)

FAILURES = (
    Failed("ValueError", "no such address", "Traceback: …\n  raise ValueError", 12.5),
    Failed("ledger.JobTimeout", "ran longer than its timeout"),
    Failed("KeyError", "", None, 0.0),
)
DURATIONS = (0.0, 0.25, 1.0, 1.09, 37.5, 1000.0, 86_400_000.0)

submissions = st.builds(
    lambda delayed, **members: Request(scheduled_at=LATER if delayed else None, **members),
    st.booleans(),
    type=st.sampled_from(["email.send", "report.make"]),
    max_retries=st.integers(0, 1),
    expires_at=st.sampled_from([None, LATER]),
    deadline=st.sampled_from([None, LATER - timedelta(minutes=1), LATER + 3 * _TWO_HOURS]),
    schedule_id=st.sampled_from([None, SCHEDULE_ID]),
)

steps_of_time = st.sampled_from([-7, 0, 1, 250, 61_000]).map(lambda ms: timedelta(milliseconds=ms))
"""Between one event and the next: the log's clock may also be set back."""


class Jobs:
    """The jobs of one run, each with its history so far; nothing is written anywhere."""

    def __init__(self) -> None:
        self.histories: dict[UUID, list[Entry]] = {}
        self.now = NOON

    def open(self, request: Request, queue: str, priority: Priority, correlation_id: str | None) -> list[Entry]:
        """Return the entries that open another job."""
        job_id = mint()
        trace = NO_TRACE if correlation_id is None else Trace(correlation_id=correlation_id)
        self.histories[job_id] = []
        return self._record(job_id, 0, queue, priority, commands.submit(request, NOON), trace)

    def step(self, job_id: UUID, choice: int) -> list[Entry]:
        """Return the entries of one of the steps this job may take; none when it has ended."""
        job = fold(self.histories[job_id])
        assert job is not None
        allowed = choices(job, self.now)
        if not allowed:
            return []
        events = allowed[choice % len(allowed)]()
        return self._record(job_id, job.version, job.queue, job.priority, events, NO_TRACE)

    def forget(self, entries: list[Entry]) -> None:
        """Take back what was rolled back."""
        for entry in entries:
            history = self.histories[entry.job_id]
            if entry in history:
                del history[history.index(entry) :]
            if not history:
                del self.histories[entry.job_id]
                return

    def _record(
        self,
        job_id: UUID,
        version: int,
        queue: str,
        priority: Priority,
        events: tuple[Event, ...],
        trace: Trace,
    ) -> list[Entry]:
        entries = [
            Entry(0, self.now, job_id, version + n, queue, priority, "test", event, trace)
            for n, event in enumerate(events, start=1)
        ]
        self.histories[job_id] += entries
        return entries


def choices(job: JobState, now: datetime) -> list[Callable[[], tuple[Event, ...]]]:
    """Return every kind of step the rules allow this job; what leads on to a long life occurs several times."""
    random = Random(job.version)
    failure = FAILURES[job.version % len(FAILURES)]
    match job.state:
        case State.READY:
            return [
                *[lambda: commands.lease(job, f"worker-{job.version}", f"nonce-{job.version}")] * 6,
                lambda: commands.cancel(job, reason="enough"),
                lambda: commands.expire(job),
            ]
        case State.RUNNING:
            return [
                lambda: commands.succeed(job, DURATIONS[job.version % len(DURATIONS)], b"{}"),
                *[lambda: commands.fail(job, failure, now, random)] * 3,
                *[lambda: commands.fail(job, failure, now, random, permanent=True)] * 2,
                *[lambda: commands.crash(job, max_crashes=2)] * 3,
                lambda: commands.snooze(job, LATER),
                lambda: commands.release(job, "shutdown"),
                lambda: commands.release(job, "unknown_type"),
                lambda: commands.cancel(job),
            ]
        case State.SCHEDULED | State.RETRYING:
            return [
                *[lambda: commands.make_due(job)] * 3,
                lambda: commands.run_now(job, "hurry"),
                lambda: commands.cancel(job),
                lambda: commands.expire(job),
            ]
        case State.DEAD:
            return [
                *[lambda: commands.retry(job, now)] * (3 if _in_time(job, now) else 0),
                *[lambda: commands.retry(job, now, _TWO_HOURS, "once more")]
                * (2 if _in_time(job, now + _TWO_HOURS) else 0),
                lambda: commands.discard(job),
            ]
        case _:
            return []


def _in_time(job: JobState, at: datetime) -> bool:
    return job.request.deadline is None or at < job.request.deadline
