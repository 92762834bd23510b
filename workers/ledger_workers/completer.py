"""The completer: records verdicts in groups, whatever has gathered while the last commit was under way.

Record, then forget: a run stays on the board and in its slot until its outcome is in the log. A refused outcome is told
and counted. What Postgres cannot take now is kept and tried again until it can; a commit whose answer was lost is found
in the job's history when it is tried again, so it counts once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from ledger.appender import Outbox
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

_BLOCKED_PAUSE = 0.2
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
        self._outbox = Outbox[_Concluded]("outcomes", self._append, self._settle, worker_id=worker_id)
        self.start, self.stop, self.run_once = self._outbox.start, self._outbox.stop, self._outbox.run_once

    def conclude(self, run: Run, verdict: Verdict) -> None:
        """Take the verdict on a run that the caller has settled."""
        self._outbox.post(_Concluded(run, verdict))

    def _append(self, batch: Sequence[_Concluded]) -> Sequence[Outcome]:
        failpoints.hit("before_append")
        now = self._log.clock.now()
        began = time.monotonic()
        outcomes = self._log.append([self._append_of(item, now) for item in batch])
        self._meters.append.observe(time.monotonic() - began)
        failpoints.hit("after_append")
        return outcomes

    def _append_of(self, item: _Concluded, now: datetime) -> Append:
        if item.append is None:
            item.append = item.run.append(item.verdict(now), self._worker_id)
        return item.append

    def _settle(
        self, batch: Sequence[_Concluded], answers: Sequence[Outcome | Exception]
    ) -> list[tuple[_Concluded, float]]:
        """Finish what is on record, or never will be; return the rest, with the pause before it is tried again."""
        done: list[Run] = []
        again: list[tuple[_Concluded, float]] = []
        for item, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                again.append((item, self._replace(item, answer)))
            elif self._is_done(item, answer):
                done.append(item.run)
            else:
                again.append((item, _BLOCKED_PAUSE))
        self._finish(done)
        return again

    def _replace(self, item: _Concluded, error: Exception) -> float:
        """Let a failure stand for what cannot be kept; return the pause before that is tried."""
        run = item.run
        if item.replaced:
            # Not forgotten: a lease that nobody closes would be open as long as this worker lives.
            log.error("outcome cannot be recorded", **self._facts(run), exc_info=error)
            return _HOPELESS_PAUSE
        cause = RuntimeError(f"the outcome cannot be kept in the log ({type(error).__name__})")
        item.verdict = failed(run.state, cause, "", run.seconds * 1000)
        item.append, item.replaced = None, True
        return 0.0

    def _is_done(self, item: _Concluded, outcome: Outcome) -> bool:
        if isinstance(outcome, Recorded):
            return True
        if isinstance(outcome, Blocked):
            return False
        try:
            self._refused(item)
        except Unavailable:
            return False  # who won cannot be told now; it is asked again
        except CorruptHistory as error:
            log.exception("lease lost, and who has it cannot be read", error=str(error), **self._facts(item.run))
        return True

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
