"""The completer: records verdicts in groups, whatever has gathered while the last commit was under way.

Record, then forget: a run stays on the board and in its slot until its outcome is in the log. A refused outcome is told
and counted. What Postgres cannot take now is kept and tried again until it can; a commit whose answer was lost is found
in the job's history when it is tried again, so it counts once.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

import structlog

from ledger.errors import CorruptHistory, LeaseLost, Unavailable
from ledger.events import Leased
from ledger.log import Append, Blocked, Log, Recorded
from ledger.runtime import failpoints
from ledger.verdicts import failed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ledger.log import Outcome
    from ledger.runtime.clock import Clock
    from ledger.verdicts import Verdict
    from ledger_workers.board import Board
    from ledger_workers.leases import Run
    from ledger_workers.metrics import Meters
    from ledger_workers.slots import Slots

log = structlog.get_logger()

MOST_AT_ONCE = 1000
_BLOCKED_PAUSE = 0.2
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_HOPELESS_PAUSE = 5.0


class ClockedLog(Log, Protocol):
    """A log, and the clock by which it stamps its events."""

    @property
    def clock(self) -> Clock: ...


@dataclass(slots=True, eq=False)
class _Concluded:
    run: Run
    verdict: Verdict
    append: Append | None = None
    """Made once: what is tried again must be the same."""
    not_before: float = 0.0
    replaced: bool = False
    """Its contents could not be kept; it says so instead."""


class Completer:
    """Takes verdicts from any thread; one thread of its own writes them."""

    def __init__(
        self, log: ClockedLog, worker_id: str, *, board: Board, slots: Slots, runs: dict[int, Run], meters: Meters
    ) -> None:
        self._log = log
        self._worker_id = worker_id
        self._board = board
        self._slots = slots
        self._runs = runs
        self._meters = meters
        self._queue: SimpleQueue[_Concluded | None] = SimpleQueue()
        self._blocked: list[_Concluded] = []
        self._stopping = False
        self._give_up = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="completer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def conclude(self, run: Run, verdict: Verdict) -> None:
        """Take the verdict on a run that the caller has settled."""
        self._queue.put(_Concluded(run, verdict))

    def stop(self, timeout: float) -> bool:
        """Record what is there and end; give up what has not gone in after so many seconds. True if all has."""
        self._queue.put(None)
        self._thread.join(timeout)
        self._give_up.set()
        return not self._thread.is_alive()

    def run_once(self, timeout: float | None = None) -> bool:
        """Record what has gathered, waiting for the first one; False once told to stop and nothing is left."""
        batch = self._gather(_BLOCKED_PAUSE if self._blocked else timeout)
        if batch:
            self._record(batch)
        elif self._blocked and self._stopping:
            self._give_up.wait(_BLOCKED_PAUSE)
        return bool(batch or self._blocked) or not self._stopping

    def _loop(self) -> None:
        while self.run_once() and not self._give_up.is_set():
            pass

    def _gather(self, timeout: float | None) -> list[_Concluded]:
        batch = self._ripe()
        try:
            while len(batch) < MOST_AT_ONCE:
                wait = not batch and not self._stopping
                item = self._queue.get(timeout=timeout) if wait else self._queue.get_nowait()
                if item is None:
                    self._stopping = True
                else:
                    batch.append(item)
        except Empty:
            pass
        return batch

    def _ripe(self) -> list[_Concluded]:
        if not self._blocked:
            return []
        now = time.monotonic()
        ripe = [item for item in self._blocked if item.not_before <= now]
        self._blocked = [item for item in self._blocked if item.not_before > now]
        return ripe

    def _record(self, batch: list[_Concluded]) -> None:
        began = time.monotonic()
        try:
            outcomes = self._append(batch)
        except Exception as error:  # noqa: BLE001 — Postgres is well but will not have one: the others must not suffer
            self._record_apart(batch, error)
            return
        self._meters.append.observe(time.monotonic() - began)
        failpoints.hit("after_append")
        done = [item.run for item, outcome in zip(batch, outcomes, strict=True) if self._is_done(item, outcome)]
        self._finish(done)

    def _append(self, batch: list[_Concluded]) -> Sequence[Outcome]:
        pause, told = _FIRST_PAUSE, False
        while True:
            try:
                failpoints.hit("before_append")
                now = self._log.clock.now()
                outcomes = self._log.append([self._append_of(item, now) for item in batch])
            except Unavailable as error:
                if not told:
                    log.warning("outcomes wait", count=len(batch), error=str(error), worker_id=self._worker_id)
                told = True
                if self._give_up.wait(pause):
                    raise
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                if told:
                    log.info("outcomes recorded after all", count=len(batch), worker_id=self._worker_id)
                return outcomes

    def _append_of(self, item: _Concluded, now: datetime) -> Append:
        if item.append is None:
            item.append = item.run.append(item.verdict(now), self._worker_id)
        return item.append

    def _record_apart(self, batch: list[_Concluded], error: Exception) -> None:
        if self._give_up.is_set():
            log.error("outcomes given up", count=len(batch), error=str(error), worker_id=self._worker_id)
        elif len(batch) > 1:
            middle = len(batch) // 2
            self._record(batch[:middle])
            self._record(batch[middle:])
        elif batch[0].replaced:
            # Not forgotten: a lease that nobody closes would be open as long as this worker lives.
            log.error("outcome cannot be recorded", **self._facts(batch[0].run), exc_info=error)
            self._put_off(batch[0], _HOPELESS_PAUSE)
        else:
            run = batch[0].run
            cause = RuntimeError(f"the outcome cannot be kept in the log ({type(error).__name__})")
            batch[0].verdict = failed(run.state, cause, "", run.seconds * 1000)
            batch[0].append, batch[0].replaced = None, True
            self._record(batch)

    def _is_done(self, item: _Concluded, outcome: Outcome) -> bool:
        if isinstance(outcome, Recorded):
            return True
        if not isinstance(outcome, Blocked):
            try:
                self._refused(item)
            except Unavailable:
                pass  # who won cannot be told now; it is asked again
            except CorruptHistory as error:
                log.exception("lease lost, and who has it cannot be read", error=str(error), **self._facts(item.run))
                return True
            else:
                return True
        self._put_off(item, _BLOCKED_PAUSE)
        return False

    def _put_off(self, item: _Concluded, pause: float) -> None:
        item.not_before = time.monotonic() + pause
        self._blocked.append(item)

    def _refused(self, item: _Concluded) -> None:
        """Tell and count a lost lease, unless what stands in the way is our own, of a commit whose answer was lost."""
        state = item.run.state
        history = self._log.history(state.id)
        lease, after = (
            next((entry for entry in history if entry.version == version), None)
            for version in (state.lease_version, state.lease_version + 1)
        )
        ours = lease is not None and isinstance(lease.event, Leased) and lease.event.nonce == state.nonce
        if ours and after is not None and after.actor == f"worker:{self._worker_id}":
            return
        self._meters.refused.labels(state.queue).inc()
        log.warning(
            "lease lost",
            error=str(LeaseLost(state.id, state.lease_version)),
            instead=f"{after.kind} by {after.actor}" if after is not None else None,
            **self._facts(item.run),
        )

    def _finish(self, runs: list[Run]) -> None:
        free = 0
        for run in runs:
            self._board.wipe(run.line)
            self._runs.pop(run.line, None)
            free += run.part()
        if runs:
            self._slots.free(free)

    def _facts(self, run: Run) -> dict[str, object]:
        return {
            "job_id": str(run.state.id),
            "type": run.job.type,
            "queue": run.state.queue,
            "attempt": run.state.attempt,
            "lease_version": run.state.lease_version,
            "worker_id": self._worker_id,
        }
