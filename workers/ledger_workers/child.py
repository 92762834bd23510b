"""The program of a worker process: talks with its supervisor, runs the worker, and leaves in good order.

The talk is short: the child says what application it has loaded, the supervisor lets it begin once it is on the list of
workers, and from then on the end of the line is all there is to hear: the supervisor has gone, so the child leaves too.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from dataclasses import replace
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING

import msgspec
import structlog

from ledger.cli_output import failure_of
from ledger.errors import LedgerError
from ledger.runtime import logs
from ledger.settings import Queue
from ledger_workers.application import load
from ledger_workers.board import Board
from ledger_workers.metrics import Meters
from ledger_workers.worker import Identity, Worker

if TYPE_CHECKING:
    from ledger.settings import Settings

log = structlog.get_logger()

_SWITCH_INTERVAL = 0.001
"""Seconds a busy handler keeps the interpreter from the threads that talk to Redis and Postgres. Python's own five
milliseconds would be added to every round trip."""


class Mission(msgspec.Struct, frozen=True):
    """What the supervisor tells a child on its command line."""

    app: str
    tag: str
    """The last part of the worker's id."""
    line: int
    """Descriptor of the socket to the supervisor."""
    board: int
    """Descriptor of the board."""
    queues: tuple[Queue, ...]
    concurrency: int
    shutdown_seconds: float
    drain: bool


class Report(msgspec.Struct, frozen=True):
    """What a child says once it has loaded its application."""

    database_url: str
    redis_url: str
    types: tuple[str, ...]


def worker_id(pid: int, tag: str) -> str:
    """Return the id of a worker process, the same string in logs, events, heartbeats and metrics."""
    return f"{socket.gethostname()}-{pid}-{tag}"


def main() -> None:
    """Be a worker process."""
    mission = msgspec.json.decode(sys.argv[1], type=Mission)
    sys.setswitchinterval(_SWITCH_INTERVAL)
    news: SimpleQueue[str] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        # However often it comes: to end this process at once is the supervisor's business, by SIGKILL.
        signal.signal(number, lambda _number, _frame: news.put("asked to stop"))
    try:
        code = _serve(mission, news)
    except LedgerError as error:
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
    worker = Worker(ledger, identity, board, Meters(), settings, drained=drained)
    line = socket.socket(fileno=mission.line)  # closed by the end of the process: a thread reads from it until then
    heard = line.makefile("rb")
    line.sendall(msgspec.json.encode(Report(ledger.database_url, ledger.redis_url, tuple(ledger.handlers))) + b"\n")
    if not heard.readline():
        return 1
    threading.Thread(target=_listen, args=(heard, news), name="supervisor", daemon=True).start()
    board.beat(0)
    worker.start()
    log.info("worker started", worker_id=identity.worker_id, types=sorted(ledger.handlers))
    reason = news.get()
    clean = worker.stop(mission.shutdown_seconds)
    log.info("worker stopped", worker_id=identity.worker_id, reason=reason, clean=clean)
    return 0


def _settings(settings: Settings, mission: Mission) -> Settings:
    return replace(settings, worker_queues=mission.queues, worker_concurrency=mission.concurrency)


def _listen(heard: IO[bytes], news: SimpleQueue[str]) -> None:
    heard.read()
    news.put("the supervisor has gone")


if __name__ == "__main__":
    main()
