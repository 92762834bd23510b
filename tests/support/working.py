"""Workers for tests: in this process and turned on by hand, or as `ledger worker` with its children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from ledger_workers.board import Board
from ledger_workers.metrics import Meters
from ledger_workers.slots import Slots
from ledger_workers.worker import Identity, Worker
from prometheus_client import CollectorRegistry

from ledger import Ledger, keys
from ledger.errors import Unavailable
from ledger.message import Message
from ledger.settings import from_env
from ledger.settings import queues as parse_queues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from uuid import UUID

    from ledger.events import Kind
    from ledger.job import JobState

PATIENCE = 60.0
APP = "tests.support.worker_app:ledger"
ROOT = Path(__file__).parents[2]


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Return the first true value of the condition; fail when there is none in time."""
    deadline = time.monotonic() + seconds
    never = threading.Event()
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not in {seconds} s: {condition}"
        never.wait(0.01)
    return value


def patiently(action: Callable[[], Any]) -> Any:
    """Return what it returns as soon as Postgres is there."""
    results = []

    def succeeds() -> bool:
        try:
            results.append(action())
        except Unavailable:
            return False
        return True

    until(succeeds)
    return results[0]


@contextmanager
def ledger_on(database: str, redis_url: str, **environment: str) -> Iterator[Ledger]:
    """An application without handlers, on these servers."""
    settings = from_env({"WORKER_QUEUES": "default", "WORKER_POLL_INTERVAL": "200ms", **environment})
    ledger = Ledger(database_url=database, redis_url=redis_url, settings=settings)
    yield ledger
    ledger.close()


@contextmanager
def working(
    ledger: Ledger,
    worker_id: str = "w-1",
    *,
    concurrency: int = 10,
    queues: str = "default",
    leave: float = 10.0,
    meters: Meters | None = None,
) -> Iterator[Worker]:
    """A worker of this application in this process; at the end it is given `leave` seconds for what still runs."""
    board = Board.create(Slots(concurrency).most * 2)
    settings = replace(ledger.settings, worker_concurrency=concurrency, worker_queues=parse_queues(queues))
    worker = Worker(ledger, Identity(worker_id, APP), board, meters or Meters(CollectorRegistry()), settings)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop(leave)
        board.close()


def send(ledger: Ledger, type_: str, payload: Mapping[str, Any] | None = None, **options: Any) -> UUID:
    """Make a job and dispatch it, by hand alone: the client leaves a held queue to the dispatcher."""
    with redis.Redis.from_url(ledger.redis_url) as client:
        client.set(keys.hold(options.get("queue", "default")), b"", px=int(PATIENCE * 1000))
    job_id = ledger.enqueue(type_, payload, **options)
    dispatch(ledger, job_id)
    return job_id


def dispatch(ledger: Ledger, job_id: UUID, version: int | None = None) -> None:
    """Put a job's message on its stream, as the dispatcher does; `version` forges another."""
    job = ledger.get(job_id)
    message = Message(job_id, version or job.version, job.attempt + 1, job.request.type)
    with redis.Redis.from_url(ledger.redis_url) as client:
        client.xadd(keys.stream(job.queue, job.priority), message.fields())


def depth(ledger: Ledger, queue: str = "default") -> int:
    """How many entries the streams of a queue hold."""
    with redis.Redis.from_url(ledger.redis_url) as client:
        return sum(client.xlen(stream) for stream in keys.streams(queue))


def ended(ledger: Ledger, job_id: UUID) -> JobState:
    """Wait for the job's end or death, and return it."""
    return reached(ledger, job_id, "succeeded", "dead", "cancelled")


def reached(ledger: Ledger, job_id: UUID, *states: str, seconds: float = PATIENCE) -> JobState:
    until(lambda: ledger.get(job_id).state in states, seconds)
    return ledger.get(job_id)


class Pump:
    """Dispatches jobs each time they become ready, as the dispatcher would."""

    def __init__(self, ledger: Ledger, *job_ids: UUID) -> None:
        self._ledger = ledger
        self._sent = dict.fromkeys(job_ids, 0)

    def until(self, *states: str, seconds: float = PATIENCE) -> list[JobState]:
        """Dispatch until all the jobs are in one of these states, and return them."""
        until(lambda: {job.state for job in self._turn()} <= set(states), seconds)
        return self._turn()

    def _turn(self) -> list[JobState]:
        jobs = [self._ledger.get(job_id) for job_id in self._sent]
        for job in jobs:
            if job.state == "ready" and self._sent[job.id] < job.version:
                self._sent[job.id] = job.version
                dispatch(self._ledger, job.id)
        return jobs


def kinds(ledger: Ledger, job_id: UUID) -> list[Kind]:
    return [entry.kind for entry in ledger.history(job_id)]


class WorkerCommand:
    """`ledger worker` of `tests.support.worker_app`, as a process of its own."""

    def __init__(self, ledger: Ledger, *options: str, app: str = APP, **environment: str) -> None:
        settings = {"WORKER_QUEUES": "default", "WORKER_POLL_INTERVAL": "200ms", "LOG_LEVEL": "debug", **environment}
        servers = {"DATABASE_URL": ledger.database_url, "REDIS_URL": ledger.redis_url}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ledger", "worker", app, *options],
            cwd=ROOT,
            env={**os.environ, **servers, **settings},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._lines: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        return self.process.wait(seconds)

    @property
    def output(self) -> str:
        return "".join(self._lines)

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self._lines.append(line)


@contextmanager
def worker_command(ledger: Ledger, *options: str, app: str = APP, **environment: str) -> Iterator[WorkerCommand]:
    """A running `ledger worker`, killed at the end with its children if it is still there."""
    command = WorkerCommand(ledger, *options, app=app, **environment)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            command.signal(signal.SIGTERM)
            command.signal(signal.SIGTERM)
        command.wait(15)
