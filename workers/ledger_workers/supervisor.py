"""The supervisor: starts worker processes, beats for them, buries and replaces those that die, and leads them out.

It runs no handler, so nothing a handler does (hold the GIL, eat the memory, kill the process) touches it. Children are
fresh interpreters, never forks of one with live connections. A child that dies is seen at once, and its leases are
closed from its board, without waiting for anybody to find it silent.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import msgspec
import structlog

from ledger.errors import Unavailable
from ledger.postgres import PostgresLog
from ledger.runtime.database import Database
from ledger_workers.board import Board
from ledger_workers.child import Mission, Report, worker_id
from ledger_workers.estate import settle_estate
from ledger_workers.heartbeat import Beat, Heartbeat
from ledger_workers.slots import Slots

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
_TURN = 0.5


@dataclass(slots=True, eq=False)
class Child:
    """A worker process and what the supervisor knows of it."""

    process: subprocess.Popen[bytes]
    board: Board
    line: socket.socket
    id: str
    began_at: float = field(default_factory=time.monotonic)
    report: Report | None = None
    working: bool = False
    """It is on the list of workers and has been let go."""
    killed: bool = False
    """Its end is no job's doing."""

    def beat(self, *, stopping: bool) -> Beat:
        return Beat(self.id, self.process.pid, self.board.running(), stopping)

    def close(self) -> None:
        self.line.close()
        self.board.close()


@dataclass(slots=True, eq=False)
class _Estate:
    """A dead child whose leases are to be closed: at once, and again when nothing of it can be under way any more."""

    child: Child
    final_at: float


class Supervisor:
    """Runs `processes` worker processes of the application until told to stop; use from the main thread."""

    def __init__(self, app: str, settings: Settings, processes: int, *, drain: bool = False) -> None:
        self._app = app
        self._settings = settings
        self._wanted = processes
        self._drain = drain
        self._news: SimpleQueue[Child | signal.Signals] = SimpleQueue()
        self._children: list[Child] = []
        self._estates: list[_Estate] = []
        self._database: Database | None = None
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

    def _turn(self) -> bool:
        """Do what is to be done now, waiting for news for a moment; False once all have left."""
        if time.monotonic() >= self._start_at:
            while len(self._children) < self._wanted:
                self._children.append(self._start())
        self._wait_for_news()
        for child in [child for child in self._children if child.process.poll() is not None]:
            self._ended(child)
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
        return bool(self._wanted or self._children or self._estates) and now < self._abandon_at

    # --- children --------------------------------------------------------------------------------------------------

    def _start(self) -> Child:
        settings = self._settings
        ours, theirs = socket.socketpair()
        board = Board.create(Slots(settings.worker_concurrency).most * 2)
        tag = secrets.token_hex(2)
        mission = Mission(
            app=self._app,
            tag=tag,
            line=theirs.fileno(),
            board=board.descriptor,
            queues=settings.worker_queues,
            concurrency=settings.worker_concurrency,
            shutdown_seconds=settings.worker_shutdown_timeout.total_seconds(),
            drain=self._drain,
        )
        with theirs:
            process = subprocess.Popen(  # noqa: S603 — our own program
                [sys.executable, "-m", "ledger_workers.child", msgspec.json.encode(mission).decode()],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), board.descriptor),
                start_new_session=True,
            )
        child = Child(process, board, ours, worker_id(process.pid, tag))
        threading.Thread(target=self._keep, args=(child,), name=f"keeper of {child.id}", daemon=True).start()
        return child

    def _keep(self, child: Child) -> None:
        with suppress(OSError, msgspec.MsgspecError), child.line.makefile("rb") as heard:
            child.report = msgspec.json.decode(heard.readline(), type=Report)
            self._news.put(child)
        child.process.wait()
        self._news.put(child)

    def _let_go(self) -> None:
        """List the children that have loaded their application, and let them begin."""
        waiting = [child for child in self._children if child.report is not None and not child.working]
        if not waiting or self._stopping:
            return
        self._heartbeat(waiting[0]).beat(child.beat(stopping=False) for child in waiting)
        for child in waiting:
            with suppress(OSError):
                child.line.sendall(b"go\n")
            child.working = self._ever_worked = True

    def _ended(self, child: Child) -> None:
        self._children.remove(child)
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
            self._wanted -= self._drain
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
        if self._database is None:
            assert child.report is not None
            self._database = Database(child.report.database_url, size=1, name="ledger-supervisor")
        queues = [queue.name for queue in self._settings.worker_queues]
        return Heartbeat(self._database, queues, self._settings.worker_concurrency)

    def _beat(self) -> None:
        working = [child for child in self._children if child.working]
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
            log.info("stopping", signal=news.name, running=sum(child.board.running() for child in self._children))
            self._stop(self._settings.worker_shutdown_timeout.total_seconds() + _PATIENCE)

    def _stop(self, patience: float) -> None:
        self._stopping = True
        self._wanted = 0
        self._beat_at = 0.0
        self._kill_at = time.monotonic() + patience
        self._abandon_at = min(self._abandon_at, self._kill_at + _PATIENCE)
        for child in self._children:
            child.process.send_signal(signal.SIGTERM)

    def _kill(self) -> None:
        for child in self._children:
            child.killed = True
            with suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
