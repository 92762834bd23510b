"""The program of a worker process: talks with its supervisor, runs the worker, and leaves in good order.

The child says what application it has loaded, and the supervisor lets it begin once it is on the list of workers. From
then on the child says what it has counted, where that is served; the supervisor says at most that the child is to be
replaced. At the end of the line the supervisor has gone, and the child leaves too.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING

import msgspec
import structlog

from ledger.errors import LedgerError
from ledger.runtime import garbage, logs
from ledger.schedules_in_code import bring_schedules
from ledger_workers import streams
from ledger_workers.application import load
from ledger_workers.board import Board
from ledger_workers.metrics import Meters
from ledger_workers.mission import RETIRE, Mission, Report, worker_id
from ledger_workers.tally import counted
from ledger_workers.worker import Identity, Worker

if TYPE_CHECKING:
    from ledger.settings import Settings

log = structlog.get_logger()

_RETIRING = "it is being replaced"
_TOLD_EVERY = 1.0
_SWITCH_INTERVAL = 0.001
"""Seconds a busy handler keeps the interpreter from the threads that talk to Redis and Postgres. Python's own five
milliseconds would be added to every round trip."""


def main() -> None:
    """Be a worker process."""
    mission = msgspec.json.decode(sys.argv[1], type=Mission)
    sys.setswitchinterval(_SWITCH_INTERVAL)
    streams.guard()
    news: SimpleQueue[str] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        # However often it comes: to end this process at once is the supervisor's business, by SIGKILL.
        signal.signal(number, lambda _number, _frame: news.put("asked to stop"))
    try:
        code = _serve(mission, news)
    except LedgerError as error:
        from ledger.cli_failures import failure_of  # noqa: PLC0415 — a worker has no command line to keep in memory

        failure = failure_of(error)
        failure.show()
        code = failure.exit_code
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: a handler that does not return must not hold the process back.
    os._exit(code)


def _serve(mission: Mission, news: SimpleQueue[str]) -> int:
    ledger = load(mission.app)
    settings = _settings(ledger.settings, mission)
    logs.configure(settings, "worker")
    identity = Identity(worker_id(os.getpid(), mission.tag), mission.app)
    board = Board(mission.board)
    drained = (lambda: news.put("drained")) if mission.drain else None
    worker = Worker(ledger, identity, board, Meters(), settings, drained=drained, wear=mission.wear)
    line = socket.socket(fileno=mission.line)  # closed by the end of the process: a thread reads from it until then
    heard = line.makefile("rb")
    line.sendall(msgspec.json.encode(Report(ledger.database_url, ledger.redis_url, tuple(ledger.handlers))) + b"\n")
    if not heard.readline():
        return 1
    threading.Thread(target=_listen, args=(heard, news), name="supervisor", daemon=True).start()
    teller = _Teller(line) if mission.tells else None
    bring_schedules(ledger, ledger.schedules, f"worker:{identity.worker_id}")
    board.beat(0)
    garbage.settle()
    worker.start()
    log.info("worker started", worker_id=identity.worker_id, types=sorted(ledger.handlers))
    if (reason := news.get()) == _RETIRING:
        worker.wind_down(lambda: news.put("replaced"))
        reason = news.get()
    clean = worker.stop(mission.shutdown_seconds)
    if teller is not None:
        teller.tell()
    log.info("worker stopped", worker_id=identity.worker_id, reason=reason, clean=clean)
    return 0


def _settings(settings: Settings, mission: Mission) -> Settings:
    return replace(settings, worker_queues=mission.queues, worker_concurrency=mission.concurrency)


def _listen(heard: IO[bytes], news: SimpleQueue[str]) -> None:
    for word in heard:
        if word == RETIRE:
            news.put(_RETIRING)
    news.put("the supervisor has gone")


class _Teller:
    """Tells the supervisor what this process has counted, every second from a thread of its own."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="teller", daemon=True).start()

    def tell(self) -> None:
        with self._lock, suppress(OSError):  # the supervisor may have gone
            self._line.sendall(msgspec.json.encode(counted()) + b"\n")

    def _run(self) -> None:
        never = threading.Event()
        while not never.wait(_TOLD_EVERY):
            self.tell()


if __name__ == "__main__":
    main()
