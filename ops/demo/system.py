"""The running system: the same processes as in production, watched, and replaced when one of them dies."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ledger import dev
from ledger.cli_output import Failure
from ledger.runtime.processes import Crew, Ended, Order, Signalled
from ops.demo.files import QUEUES

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from ledger.cli_output import Installation

APPLICATION = "ops.demo.jobs:ledger"
READY_WITHIN = 60.0
TEMPO = {
    # Shorter than in production, so that what a crash left behind is healed while one watches.
    "SCHEDULER_STALE_JOB_TIMEOUT": "3s",
    "WORKER_HEARTBEAT_INTERVAL": "500ms",
    "SCHEDULER_POLL_INTERVAL": "200ms",
    "WORKER_SHUTDOWN_TIMEOUT": "10s",
}


class Interrupted(Exception):
    """Somebody pressed Ctrl-C."""


class System:
    """API, projector, scheduler and workers, their lines in a log file; `watch` between everything else."""

    def __init__(self, crew: Crew, orders: list[Order], url: str) -> None:
        self.url = url
        self.incidents: list[str] = []
        """What happened to processes that nobody asked to stop."""
        self._crew = crew
        self._orders = {order.name: order for order in orders}

    @property
    def pids(self) -> dict[str, int]:
        return self._crew.pids

    def watch(self, seconds: float) -> None:
        """Wait so long for news; put a new process in the place of one that died. Raise Interrupted for Ctrl-C."""
        news = self._crew.news(timeout=seconds)
        if isinstance(news, Signalled):
            raise Interrupted
        if isinstance(news, Ended):
            self.incidents.append(f"{news.in_words()}; a new one took its place")
            if len(self.incidents) > 20:
                raise Failure(f"processes keep dying; the last: {news.in_words()}")
            self._crew.stop(news.name)
            self._crew.start(self._orders[news.name])

    def await_ready(self) -> None:
        for _ in range(int(READY_WITHIN / 0.1)):
            if dev.ready(self.url):
                return
            self.watch(0.1)
        raise Failure("the API did not become ready")


@contextmanager
def running(installation: Installation, log: Path, workers: int) -> Generator[System]:
    """Run the system's processes; stop them in order at the end, however it comes."""
    host, port = dev.listen_address(installation.settings, chosen=False)
    environment = dev.environment(installation, (host, port), **TEMPO)
    environment.pop("API_KEYS", None)  # the demonstration reads from loopback
    lock = threading.Lock()
    with log.open("w", buffering=1) as file:

        def hear(name: str, line: str) -> None:
            with lock:
                file.write(f"{name:<10} {line}\n")

        crew = Crew(hear, environment)
        system = System(crew, _orders(workers), f"http://{host}:{port}")
        with crew.signals(signal.SIGINT, signal.SIGTERM):
            try:
                for order in _orders(workers):
                    crew.start(order)
                yield system
            finally:
                dev.stop(crew)


def _orders(workers: int) -> list[Order]:
    queues = ",".join(f"{name}:{weight}" for name, weight in QUEUES.items())
    arguments = dev.command("worker", APPLICATION, "--queues", queues, "--concurrency", "4")
    return [
        Order("api", dev.command("api")),
        Order("projector", dev.command("projector")),
        Order("scheduler", dev.command("scheduler")),
        *(Order(f"worker-{n}", arguments, patience=20) for n in range(1, workers + 1)),
    ]
