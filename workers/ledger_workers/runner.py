"""The runner: one job through middleware and handler, and the verdict on what came of it.

It lives where jobs run, and talks to nobody: the lease brought all it needs, and the completer takes what it concludes.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ledger
from ledger import commands
from ledger.handlers import current_job
from ledger.outcomes import Cancel, Snooze, wish_of
from ledger.runtime import failpoints
from ledger.verdicts import Verdict, chain, failed, returned
from ledger_workers.executors.processes import ProcessDied, Processes, Remote
from ledger_workers.middleware.recovery import Escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from ledger.handlers import Handler, Job, Middleware
    from ledger_workers.board import Board
    from ledger_workers.executors.loop import LoopThread
    from ledger_workers.leases import Run
    from ledger_workers.slots import Slots

_OURS = tuple(str(Path(place).parent) for place in (ledger.__file__, __file__))


class Runner:
    """Runs jobs, each where `run` is called; safe to share by threads.

    `blocking`: there is middleware that may block, and must not do so on the event loop.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler[..., Any]],
        middleware: Iterable[Middleware],
        *,
        loop: LoopThread,
        processes: Processes,
        board: Board,
        slots: Slots,
        max_crashes: int,
        blocking: bool,
        conclude: Callable[[Run, Verdict], None],
    ) -> None:
        self._handlers = handlers
        self._loop = loop
        self._processes = processes
        self._board = board
        self._slots = slots
        self._max_crashes = max_crashes
        self._conclude = conclude
        self._here = threading.local()
        self._pid = os.getpid()
        self._blocking = blocking
        self._chain = chain(middleware, self._call)

    def run(self, run: Run) -> None:
        """Run the job and hand in the verdict; never raises. A run that was settled while it waited is left alone."""
        try:
            if not run.settled:
                self._run(run)
        except BaseException as error:  # noqa: BLE001 — something aimed at the thread, or an error that is itself a trap
            if run.settle():
                self._conclude(
                    run, failed(run.state, Misbehaved(type(error).__name__), "", self._took(run), run.job.rules)
                )
        finally:
            run.job.listen(None)  # who listens knows the run: a ring that only the garbage collector could undo
            if run.process is not None:
                self._processes.give_back(run)
            if run.part():
                self._slots.free(1)

    def is_for_the_loop(self, run: Run) -> bool:
        """Say whether the whole job is run on the event loop."""
        return not self._blocking and self._handlers[run.job.type].is_async and not self._is_apart(run)

    def _run(self, run: Run) -> None:
        if self._is_apart(run):
            self._processes.reserve(run)  # what a process takes to start is not the job's time
        left = _left_until_deadline(run)
        if left is not None:
            if left <= timedelta():
                self._expire(run)
                return
            run.job.end_at_deadline(left)
        self._board.start(run.line)
        run.thread_id = threading.get_ident()
        run.job.rules = self._handlers[run.job.type].rules
        now = time.monotonic()
        # In this order: to the watch, who began and ends at 0 is over its time.
        run.ends_at = now + run.job.timeout.total_seconds()
        run.began_at = now
        failpoints.hit("before_handler")
        verdict = self._verdict(run)
        failpoints.hit("after_handler")
        if run.settle():
            self._conclude(run, verdict)

    def _expire(self, run: Run) -> None:
        if run.settle():
            state = run.state
            self._conclude(run, lambda _: commands.cancel(state, "expired", "its deadline passed before it started"))

    def _verdict(self, run: Run) -> Verdict:
        self._here.run = run
        mark = current_job.set(run.job)
        try:
            value = self._chain(run.job)
        except BaseException as escaped:  # noqa: BLE001 — the boundary of a job: whatever it was, only this job ends
            error = escaped.original if isinstance(escaped, Escaped) else escaped
            if isinstance(error, ProcessDied):
                return lambda _: commands.crash(run.state, self._max_crashes)
            return failed(run.state, error, stack_of(error), self._took(run), run.job.rules)
        finally:
            current_job.reset(mark)
            self._here.run = None
        return returned(run.state, value, self._took(run))

    def _call(self, job: Job) -> Any:
        run: Run = self._here.run
        try:
            return self._handle(run, job)
        except Exception as error:
            # To put a job off or to cancel it is no failure, however it is said: the layers outside see a value.
            wish = wish_of(error, run.job.rules)
            if isinstance(wish, Snooze | Cancel):
                return wish
            raise

    def _handle(self, run: Run, job: Job) -> Any:
        handler = self._handlers[job.type]
        if self._is_apart(run):
            return self._processes.run(run)
        try:
            result = handler.run(job)
        finally:
            if os.getpid() != self._pid:
                os._exit(0)  # the handler forked, and its child came back as if it were the worker
        return self._loop.run(result, run) if handler.is_async else result

    def _is_apart(self, run: Run) -> bool:
        # A job that has lost a worker before runs in a process of its own: if it kills that too, it alone is to blame.
        return run.state.crash_count > 0 or self._handlers[run.job.type].executor == "process"

    def _took(self, run: Run) -> float:
        run.seconds = time.monotonic() - run.began_at if run.began_at else 0.0
        return round(run.seconds * 1000, 3)


class Misbehaved(Exception):
    """A run ended in a way that could not be told."""

    def __init__(self, how: str) -> None:
        super().__init__(f"the run was ended from outside of its handler, or by an error that cannot be read ({how})")


def stack_of(error: BaseException) -> str:
    """Return the traceback as the user knows the code: without our frames on the way to it."""
    if isinstance(error, Remote):
        return error.remote_stack
    return "".join(traceback.format_exception(type(error), error, _users_part(error.__traceback__)))


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    link = trace
    while link is not None and link.tb_frame.f_code.co_filename.startswith(_OURS):
        link = link.tb_next
    return link or trace


def _left_until_deadline(run: Run) -> timedelta | None:
    """Return how long the job may still run, by Postgres' clock: what was left at its lease, less what has passed."""
    deadline, leased = run.state.request.deadline, run.state.started_at
    if deadline is None or leased is None:
        return None
    return deadline - leased - timedelta(seconds=time.monotonic() - run.leased_at)
