"""The watch: tells runs that their time is over, or that their lease is void.

A handler in a thread can only be asked; it keeps its slot until it returns, so there are never more at once than
allowed, while its attempt fails here and now. Handlers on the loop and in processes are ended. A job that waits too
long for a thread, because others run longer than was to be expected, is given back for another worker.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from ledger import commands
from ledger.errors import Unavailable
from ledger.runtime.statements import statement
from ledger.verdicts import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from ledger.events import EnqueueReason
    from ledger.runtime.database import Database
    from ledger.verdicts import Verdict
    from ledger_workers.executors.places import Places
    from ledger_workers.leases import Run
    from ledger_workers.slots import Slots

log = structlog.get_logger()

_SELECT_VOID = statement("ledger_workers", "select_void")
_TICK = 0.1
_ASK_AFTER = 0.4
"""Seconds after which a run is long enough to ask whether its lease still holds, and how often: a cancelled handler is
told within a second."""
_WAIT_AT_MOST = 1.0
"""Seconds that a job may wait for a thread."""


class Watch:
    """Looks after the runs of one process, from one thread."""

    def __init__(
        self,
        runs: dict[int, Run],
        places: Places,
        slots: Slots,
        database: Database,
        conclude: Callable[[Run, Verdict], None],
    ) -> None:
        self._runs = runs
        self._places = places
        self._slots = slots
        self._database = database
        self._conclude = conclude
        self._stop = threading.Event()
        self._something = threading.Event()
        self._asked_at = 0.0

    def start(self) -> None:
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()
        self._something.set()

    def wake(self) -> None:
        """Say that something runs."""
        if not self._something.is_set():
            self._something.set()

    def run_once(self) -> None:
        """Look at every run once."""
        now = time.monotonic()
        runs = tuple(self._runs.copy().values())
        for run in runs:
            if run.began_at and now > run.ends_at and not run.job.cancelled:
                self._expire(run)
        if now - self._asked_at >= _ASK_AFTER:
            self._asked_at = now
            open_runs = [run for run in runs if not run.settled and not run.job.cancelled]
            if any(not run.began_at and now - run.leased_at > _WAIT_AT_MOST for run in open_runs):
                self.give_back("lease_expired")
            self._tell_void([run for run in open_runs if run.began_at and now - run.leased_at > _ASK_AFTER])

    def give_back(self, reason: EnqueueReason) -> None:
        """Release the jobs whose turn has not come."""
        for run in self._places.withdraw():
            self.release(run, reason)
            if run.part():
                self._slots.free(1)

    def release(self, run: Run, reason: EnqueueReason) -> None:
        """Give a lease back whose outcome is still open."""
        if run.settle():
            self._conclude(run, lambda _: commands.release(run.state, reason))

    def _run(self) -> None:
        while not self._stop.wait(_TICK):
            self._await_a_run()
            try:
                self.run_once()
            except Unavailable:
                pass  # those who record say so
            except Exception:
                log.exception("watch failed")

    def _await_a_run(self) -> None:
        self._something.clear()
        if not self._runs and not self._stop.is_set():
            self._something.wait()

    def _expire(self, run: Run) -> None:
        if run.settle():
            stack = _stack(run)
            run.seconds = time.monotonic() - run.began_at
            error = run.job.over_time()
            self._conclude(run, failed(run.state, error, stack, round(run.seconds * 1000, 3), run.job.rules))
            log.info("timed out", job_id=str(run.job.id), type=run.job.type, error=str(error))
        run.ask_to_stop()

    def _tell_void(self, runs: list[Run]) -> None:
        if not runs:
            return
        leases = [{"job_id": run.job.id, "version": run.job.token.lease_version} for run in runs]
        with self._database.connection() as connection:
            void = set(connection.execute(_SELECT_VOID, {"leases": orjson.dumps(leases).decode()}).fetchall())
        for run in runs:
            if (run.job.id, run.job.token.lease_version) in void:
                run.ask_to_stop()


def _stack(run: Run) -> str:
    """Return where the handler stands at this moment: what it is that takes so long."""
    if run.awaited is not None:
        summary = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in _frames(run.awaited))
        return "".join(summary.format())
    frame = sys._current_frames().get(run.thread_id)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] — documented
    return "" if frame is None else "".join(traceback.format_stack(frame))


def _frames(awaited: Any) -> Iterator[FrameType]:
    """Yield the frames of a coroutine and of those it waits for, outermost first."""
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        yield frame
        awaited = awaited.cr_await
