"""A worker process: fetcher, places for handlers and completer, joined by queues, and the order in which they leave.

It is started by the supervisor, which beats for it, sees its end, and reads its board. SIGTERM, or the end of the
supervisor, makes it stop fetching, finish what runs while there is time, and give the rest back.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from ledger_workers.completer import Completer
from ledger_workers.executors.loop import LoopThread
from ledger_workers.executors.places import Places
from ledger_workers.executors.processes import Processes
from ledger_workers.fetcher import Fetcher
from ledger_workers.leases import Leases, Run
from ledger_workers.messages import Messages
from ledger_workers.metered_log import MeteredLog
from ledger_workers.middleware import shipped
from ledger_workers.notes import Notes
from ledger_workers.pauses import Pauses
from ledger_workers.ready import Ready
from ledger_workers.runner import Runner
from ledger_workers.strangers import Strangers
from ledger_workers.turns import turns
from ledger_workers.watch import Watch
from ledger_workers.wear import UNWEARING, Wear, rationed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ledger.client import Ledger
    from ledger.settings import Settings
    from ledger_workers.board import Board
    from ledger_workers.metrics import Meters

log = structlog.get_logger()

_TO_RECORD = 10.0
"""Seconds that the last outcomes have to reach the log."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which worker process this is, and which application it runs; `worker_id` is the same string everywhere."""

    worker_id: str
    app: str


class Worker:
    """One process' worth of worker. `start`, then `stop`; all threads are its own.

    With `drained` it does not wait for work: once nothing is left, it calls that, and takes nothing more. `wear` bounds
    how many jobs it takes in its life, and what the processes of its handlers do in theirs.
    """

    def __init__(
        self,
        ledger: Ledger,
        identity: Identity,
        board: Board,
        meters: Meters,
        settings: Settings,
        *,
        drained: Callable[[], None] | None = None,
        wear: Wear = UNWEARING,
    ) -> None:
        slots = rationed(settings.worker_concurrency, wear.max_jobs, board.wear_out)
        order = turns(settings.worker_queues)
        worker_id = identity.worker_id
        self._slots = slots
        self._runs: dict[int, Run] = {}
        self._worker_id = worker_id
        log = MeteredLog(ledger.log, meters)
        self._completer = Completer(log, worker_id, board=board, slots=slots, runs=self._runs, meters=meters)
        self._notes = Notes(ledger.database, self._completer.conclude)
        conclude = self._notes.conclude
        self._loop = LoopThread()
        self._processes = Processes(identity.app, wear)
        self._runner = Runner(
            ledger.handlers,
            [*shipped(meters), *ledger.middleware],
            loop=self._loop,
            processes=self._processes,
            board=board,
            slots=slots,
            max_crashes=settings.job_max_crashes,
            blocking=bool(ledger.middleware),
            conclude=conclude,
        )
        self._places = Places(settings.worker_concurrency, self._runner.run, self._loop, self._runner.is_for_the_loop)
        self._watch = Watch(self._runs, self._places, slots, ledger.database, conclude)
        self._fetcher = Fetcher(
            messages=Messages(ledger.redis_url, order, worker_id, block=settings.worker_poll_interval),
            ready=Ready(ledger.database, order.queues, ledger.handlers),
            strangers=Strangers(meters),
            leases=Leases(log, board, worker_id),
            pauses=Pauses(ledger.database, order),
            slots=slots,
            board=board,
            handlers=ledger.handlers,
            meters=meters,
            poll=settings.worker_poll_interval,
            silence=settings.scheduler_stale_job_timeout,
            drained=drained,
            begin=self._begin,
            conclude=conclude,
        )
        # What is rationed is handed out by one pair of hands.
        hands = 2 if wear.max_jobs is None else 1
        self._fetching = [
            threading.Thread(target=self._fetcher.run, name=f"fetcher {number}", daemon=True)
            for number in range(1, hands + 1)
        ]

    def start(self) -> None:
        """Begin to take jobs."""
        self._completer.start()
        self._notes.start()
        self._watch.start()
        for thread in self._fetching:
            thread.start()

    def stop(self, timeout: float) -> bool:
        """Finish what runs within so many seconds, give back the rest, and leave; True if every lease is closed."""
        deadline = time.monotonic() + timeout
        self._fetcher.stop()
        for thread in self._fetching:
            thread.join(timeout=_TO_RECORD)
        self._watch.give_back("shutdown")
        finished = self._slots.wait_until_empty(max(deadline - time.monotonic(), 0.0))
        if not finished:
            self._interrupt()
        self._watch.stop()
        self._notes.stop()
        recorded = self._completer.stop(_TO_RECORD)
        self._fetcher.leave()
        self._places.stop()
        self._processes.close()
        self._loop.close()
        return recorded

    def wind_down(self, emptied: Callable[[], None]) -> None:
        """Take nothing more, let what runs run as long as it may, and call `emptied` once nothing is held."""
        self._fetcher.stop()
        threading.Thread(target=self._await_empty, args=(emptied,), name="winding down", daemon=True).start()

    def _await_empty(self, emptied: Callable[[], None]) -> None:
        for thread in self._fetching:
            thread.join()
        self._watch.give_back("shutdown")
        self._slots.wait_until_empty(threading.TIMEOUT_MAX)
        emptied()

    def _begin(self, runs: Sequence[Run]) -> None:
        for run in runs:
            self._runs[run.line] = run
            self._notes.listen(run)
        self._watch.wake()
        self._places.submit(runs)

    def _interrupt(self) -> None:
        runs = list(self._runs.copy().values())
        log.warning("jobs given back unfinished", count=len(runs), worker_id=self._worker_id)
        for run in runs:
            self._watch.release(run, "shutdown")
            run.ask_to_stop()
