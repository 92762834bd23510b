"""The runner of the test modes: a worker and a scheduler in one, a job at a time, in the test's own thread.

What a run comes to is not decided here: the handler is told, surrounded and judged as `ledger.verdicts` says for every
runner, and what time does to a job, or a crash, is asked of the rules.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
import traceback
from concurrent.futures import Future
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from ledger import commands, outcomes
from ledger.errors import InvalidRequest
from ledger.events import Failed
from ledger.job import State, fold
from ledger.log import Lease, Recorded, following
from ledger.running import current_job
from ledger.runtime import failpoints
from ledger.testing.crash import Crash
from ledger.testing.limits import Limits, within
from ledger.testing.notes import Notebook
from ledger.verdicts import chain, failed, job_of, returned

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from datetime import datetime
    from uuid import UUID

    from ledger.client import Ledger
    from ledger.commands import Events
    from ledger.job import JobState
    from ledger.memory import MemoryLog
    from ledger.running import Job
    from ledger.testing.clock import FrozenClock
    from ledger.testing.limits import Limit
    from ledger.verdicts import Verdict

WORKER = "testing"
"""The id of the worker that the events name."""

_OF_THE_JOB = (Exception, SystemExit, asyncio.CancelledError)
"""What fails a job; all else (Ctrl-C, `pytest.fail`, a crash) is for the test."""


class Runner:
    """Runs the jobs of a log in memory by an application's handlers and middleware."""

    def __init__(self, ledger: Ledger, log: MemoryLog, clock: FrozenClock) -> None:
        self._ledger = ledger
        self._log = log
        self.limits = Limits(clock)
        self.notebook = Notebook(clock)
        self._known: dict[UUID, JobState] = {}

    def pass_time(self) -> None:
        """Make ready what is due, and cancel what has expired, as the scheduler would by now."""
        for job in self.jobs():
            if events := _by_now(job, self._log.clock.now()):
                self._append(job, events, "scheduler")

    def run(self, job: JobState) -> tuple[JobState, BaseException | None] | None:
        """Run a ready job once; return what became of it, and its error if that was not meant. None if others did."""
        lease = Lease(job.id, job.version, secrets.token_hex(8))
        for history in self._log.lease([lease], WORKER):
            state = fold(history)
            assert state is not None
            told = job_of(state, WORKER, history[0].trace.traceparent)
            if told.deadline is not None:
                told.end_at_deadline(told.deadline - self._log.clock.now())
            self.notebook.listen(told)
            error = None
            try:
                error = self._run(state, told)
            except Crash:
                self._release(state)
            return self.job(job.id), error
        return None

    def job(self, job_id: UUID) -> JobState:
        history = self._log.history(job_id)
        known = self._known.get(job_id)
        if known is None or known.version != len(history):
            known = fold(history)
            assert known is not None
            self._known[job_id] = known
        return known

    def jobs(self) -> list[JobState]:
        """Return all jobs in the order in which they were made."""
        return [self.job(entry.job_id) for entry in self._log.entries() if entry.version == 1]

    def _run(self, state: JobState, job: Job) -> BaseException | None:
        failpoints.hit("after_lease")
        failpoints.hit("before_handler")
        verdict, error = self._verdict(state, job)
        failpoints.hit("after_handler")
        events = verdict(self._log.clock.now())
        failpoints.hit("before_append")
        counts = self._append(state, events, f"worker:{WORKER}")
        failpoints.hit("after_append")
        if not counts:
            return None
        if error is None and isinstance(events[0], Failed):
            return outcomes.Permanent(events[0].error_message)  # a result that cannot be kept
        return None if error is None or _is_meant(error) else error

    def _verdict(self, state: JobState, job: Job) -> tuple[Verdict, BaseException | None]:
        began = time.monotonic()
        mark = current_job.set(job)
        try:
            with self.limits.of(job) as limit:
                value = within(limit, chain(self._ledger.middleware, self._call))
        except _OF_THE_JOB as error:
            rules = self._ledger.handlers[job.type].rules
            return failed(state, error, "".join(traceback.format_exception(error)), _since(began), rules), error
        finally:
            current_job.reset(mark)
        return returned(state, value, _since(began)), None

    def _call(self, job: Job) -> Any:
        handler = self._ledger.handlers[job.type]
        result: Any = handler.run(job)
        return _awaited(result, self.limits[job]) if handler.is_async else result

    def _release(self, state: JobState) -> None:
        """Do as the scheduler does with the lease of a dead worker, unless the outcome is on record already."""
        job = self.job(state.id)
        if job.state is State.RUNNING and job.version == state.version:
            self._append(job, commands.crash(job, self._ledger.settings.job_max_crashes), "scheduler")

    def _append(self, job: JobState, events: Events, actor: str) -> bool:
        """Put it on record; False for a job that was cancelled meanwhile, whose outcome is refused, as in life."""
        (outcome,) = self._log.append([following(job, events, actor)])
        return isinstance(outcome, Recorded)


def _by_now(job: JobState, now: datetime) -> Events:
    waits = job.state in (State.SCHEDULED, State.RETRYING)
    if (waits or job.state is State.READY) and job.request.start_by is not None and job.request.start_by <= now:
        return commands.expire(job)
    return commands.make_due(job) if waits and job.run_at is not None and job.run_at <= now else ()


def _is_meant(error: BaseException) -> bool:
    """Say whether the handler said it on purpose, by Retry, Permanent or their like."""
    return outcomes.wish_of(error) is not None and not isinstance(error, InvalidRequest)


def _awaited(coroutine: Coroutine[Any, Any, Any], limit: Limit) -> Any:
    """Run an `async def` handler to its end, also under a test whose own event loop is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _on_a_loop(coroutine, limit)
    result: Future[Any] = Future()
    work: Callable[[], None] = lambda: _settle(result, coroutine, limit)  # noqa: E731 — a thread takes a callable
    thread = threading.Thread(target=copy_context().run, args=(work,), name="async handler", daemon=True)
    thread.start()
    return result.result()


def _settle(result: Future[Any], coroutine: Coroutine[Any, Any, Any], limit: Limit) -> None:
    try:
        result.set_result(_on_a_loop(coroutine, limit))
    except BaseException as error:  # noqa: BLE001 — it is raised where the result is waited for
        result.set_exception(error)


def _on_a_loop(coroutine: Coroutine[Any, Any, Any], limit: Limit) -> Any:
    # Not asyncio.run, which would take away the loop that a test has set for its thread.
    loop = asyncio.new_event_loop()
    task = loop.create_task(coroutine)
    limit.stop = lambda: loop.call_soon_threadsafe(task.cancel)
    try:
        return loop.run_until_complete(task)
    finally:
        limit.stop = None
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 3)
