"""The supervisor: starts worker processes, beats for them, replaces those that die or wear out, and leads them out.

It runs no handler, so nothing a handler does (hold the GIL, eat the memory, kill the process) touches it. A child that
dies is seen at once, and its leases are closed from its board, without waiting for anybody to find it silent. One that
is worn goes on until its replacement works, and then finishes what it runs.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import structlog

from ledger.errors import Unavailable
from ledger.postgres import PostgresLog
from ledger.runtime import deadline
from ledger.runtime.database import Database
from ledger_workers.estate import settle_estate
from ledger_workers.heartbeat import Heartbeat
from ledger_workers.offspring import Child, Order
from ledger_workers.tally import Tally

if TYPE_CHECKING:
    from ledger.settings import Settings

log = structlog.get_logger()

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_GOOD_LIFE = 10.0
"""Seconds after which a death says nothing about the next child."""
_IN_FLIGHT = 2.0
"""Seconds after which no statement of a dead child is under way any more."""
_PATIENCE = 15.0
"""Seconds beyond the shutdown time-out that a child has to record and leave."""
_LAST_WORDS = 3.0
"""Seconds that remain, after a second signal, to give back the leases of the killed children."""
_ANSWERS_IN = timedelta(seconds=5)
"""What a turn asks of Postgres: a server that stands still would keep us from leaving."""
_TURN = 1.0
_MOST_WORN = 4
"""Processes, for each that is wanted, that may be finishing long jobs after they were replaced."""


@dataclass(slots=True, eq=False)
class _Estate:
    """A dead child whose leases are to be closed: at once, and again when nothing of it can be under way any more."""

    child: Child
    final_at: float


class Supervisor:
    """Runs so many worker processes until told to stop; use from the main thread."""

    def __init__(self, order: Order, settings: Settings, processes: int) -> None:
        self.tally = Tally()
        self._order = order
        self._settings = settings
        self._wanted = processes
        self._news: SimpleQueue[Child | signal.Signals] = SimpleQueue()
        self.children: list[Child] = []
        self.turned_at = time.monotonic()
        self._estates: list[_Estate] = []
        self._database: Database | None = None
        self._heart: Heartbeat | None = None
        self._beat_at = 0.0
        self._start_at = 0.0
        self._pause = 0.0
        self._stopping = False
        self._asked = False
        """A first signal came, though we may not have got round to it: a call to Postgres can take seconds."""
        self._kill_at = inf
        self._abandon_at = inf
        self._told = False
        self._ever_worked = False
        self._code = 0

    def run(self) -> int:
        """Supervise; return the exit code."""
        before = {n: signal.signal(n, self._signalled) for n in (signal.SIGTERM, signal.SIGINT)}
        try:
            while self._turn():
                pass
            return self._code
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._database is not None:
                self._database.close()

    def taking_jobs(self) -> list[Child]:
        """Return the children that should be looking for work; from any thread."""
        return [] if self._stopping else [child for child in list(self.children) if child.takes_jobs]

    def _turn(self) -> bool:
        """Do what is to be done now, waiting for news for a moment; False once all have left."""
        self.turned_at = time.monotonic()
        if self.turned_at >= self._start_at:
            while sum(not child.worn for child in self.children) < self._wanted:
                self.children.append(Child(self._order, self._settings, self.tally, self._news.put))
        self._wait_for_news()
        for child in [child for child in self.children if child.ended]:
            self._ended(child)
        self._replace_worn()
        deadline.start(_ANSWERS_IN)
        try:
            self._let_go()
            self._beat()
            self._settle_estates()
        except Unavailable as error:
            self._tell_unavailable(error)
        else:
            self._told = False
        now = time.monotonic()
        if now > self._kill_at:
            self._kill()
        return bool(self._wanted or self.children or self._estates) and now < self._abandon_at

    # --- children --------------------------------------------------------------------------------------------------

    def _let_go(self) -> None:
        """List the children that have loaded their application, and let them begin."""
        waiting = [child for child in self.children if child.report is not None and not child.working]
        if not waiting or self._stopping:
            return
        self._heartbeat(waiting[0]).beat(child.beat(stopping=False) for child in waiting)
        for child in waiting:
            child.let_go()
        self._ever_worked = True

    def _replace_worn(self) -> None:
        """Let a fresh process take the place of each that is worn, which goes on working until then, if it may."""
        if self._stopping:
            return
        lingering = sum(child.worn for child in self.children)
        for child in self.children:
            if lingering < self._wanted * _MOST_WORN and child.look():
                lingering += 1
                log.info("worker is worn, another takes its place", worker_id=child.id, running=child.board.running())
        replaced = sum(child.working and not child.worn for child in self.children) >= self._wanted
        for child in self.children:
            if child.worn and not child.retiring and (replaced or child.board.is_worn()):
                child.retire()

    def _ended(self, child: Child) -> None:
        self.children.remove(child)
        code = child.process.returncode
        # One that left in good order, and could not record all, is no job's victim; and nothing of it is under way.
        child.killed = child.killed or code == 0
        if child.working:
            self._estates.append(_Estate(child, time.monotonic() + (_IN_FLIGHT if code else 0.0)))
        else:
            child.close()
        if self._stopping:
            return
        if code == 0:
            self._wanted -= self._order.drain and not child.retiring
        elif code > 0 and not self._ever_worked:
            # It never got as far as to work: a second attempt would change nothing.
            self._code = code
            self._stop(0.0)
        else:
            self._died(child, code)

    def _died(self, child: Child, code: int) -> None:
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        lived = time.monotonic() - child.began_at
        self._pause = 0.0 if lived > _GOOD_LIFE else min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        self._start_at = time.monotonic() + self._pause
        held = sum(1 for _ in child.board.notes()) if child.working else 0
        log.error("worker died", worker_id=child.id, how=how, leases=held, next_in_seconds=self._pause)

    # --- what is kept in Postgres ----------------------------------------------------------------------------------

    def _heartbeat(self, child: Child) -> Heartbeat:
        if self._heart is None:
            assert child.report is not None
            self._database = Database(child.report.database_url, size=1, name="ledger-supervisor")
            queues = [queue.name for queue in self._settings.worker_queues]
            self._heart = Heartbeat(self._database, queues, self._settings.worker_concurrency)
        return self._heart

    def _beat(self) -> None:
        working = [child for child in self.children if child.working]
        if working and time.monotonic() >= self._beat_at:
            self._heartbeat(working[0]).beat(child.beat(stopping=self._stopping) for child in working)
            self._beat_at = time.monotonic() + self._settings.worker_heartbeat_interval.total_seconds()

    def _settle_estates(self) -> None:
        for estate in list(self._estates):
            child = estate.child
            final = time.monotonic() >= estate.final_at
            heartbeat = self._heartbeat(child)
            assert self._database is not None
            most = self._settings.job_max_crashes
            settled = settle_estate(
                PostgresLog(self._database), child.board.notes(), child.id, most, killed=child.killed
            )
            if settled and final:
                heartbeat.leave(child.id)
                child.close()
                self._estates.remove(estate)

    def _tell_unavailable(self, error: Unavailable) -> None:
        if not self._told:
            log.warning("heartbeats wait", error=str(error))
        self._told = True

    # --- leaving ---------------------------------------------------------------------------------------------------

    def _signalled(self, number: int, _: object) -> None:
        # In the middle of anything: nothing but what is safe there.
        if self._stopping or self._asked:
            self._code = 128 + number
            self._abandon_at = time.monotonic() + _LAST_WORDS
            self._kill()
        self._asked = True
        self._news.put(signal.Signals(number))

    def _wait_for_news(self) -> None:
        try:
            news = self._news.get(timeout=_TURN)
        except Empty:
            return
        if isinstance(news, signal.Signals) and not self._stopping:
            log.info("stopping", signal=news.name, running=sum(child.board.running() for child in self.children))
            self._stop(self._settings.worker_shutdown_timeout.total_seconds() + _PATIENCE)

    def _stop(self, patience: float) -> None:
        self._stopping = True
        self._wanted = 0
        self._beat_at = 0.0
        self._kill_at = time.monotonic() + patience
        self._abandon_at = min(self._abandon_at, self._kill_at + _PATIENCE)
        for child in self.children:
            child.stop()

    def _kill(self) -> None:
        for child in self.children:
            child.kill()
