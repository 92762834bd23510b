"""One system at work: an empty database, its services, its worker, and what is asked of its producer."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from ledger.cli_output import Failure
from ledger.runtime.processes import Crew, Order
from ops.bench import ledger_side, servers, stamps, usage
from ops.bench.venvs import HOME, ROOT, python

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ops.bench.catalogue import Peer
    from ops.bench.servers import Servers

LOGS = HOME / "logs"
CAPACITY = 30_000_000
"""Job numbers a session can give out; the file is sparse."""
WARM_UP = 50
STALL = 45.0
"""Seconds without one job starting after which a session gives up."""
PRODUCER_LIMIT = 900.0


class Session:
    def __init__(self, peer: Peer, mode: str, installed: Servers, place: Path, extra: Sequence[Order] = ()) -> None:
        self.peer, self.mode, self.servers = peer, mode, installed
        self._extra = extra
        LOGS.mkdir(parents=True, exist_ok=True)
        self._log = (LOGS / f"{peer.name}-{mode}.log").open("w", buffering=1)
        self._next = 0
        self.environment = {
            **os.environ,
            "DATABASE_URL": installed.database_url,
            "REDIS_URL": installed.redis_url,
            "BENCH_MODE": mode,
            "BENCH_STAMPS": str(place),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        self.called = stamps.opened(stamps.CALLED, CAPACITY, place)
        self.started = stamps.opened(stamps.STARTED, CAPACITY, place)
        self.crew = Crew(lambda name, line: print(f"{name:<10} {line}", file=self._log), self.environment)

    @property
    def is_ledger(self) -> bool:
        return self.peer.name == "ledger"

    def __enter__(self) -> Self:
        try:
            self.servers.empty()
            self._run("prepare")
            self.start_services()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.crew.stop()
        self._log.close()
        with suppress(Exception):  # the next part begins by emptying them anyway
            self.servers.drop()
            self.servers.forget()

    def start_services(self) -> None:
        for service in self.peer.services:
            self.start_service(*service)
        for order in self._extra:
            self.crew.start(order)
        if self.is_ledger:
            ledger_side.await_ready(self.servers, self.watch)

    def start_service(self, *arguments: str) -> None:
        self.crew.start(Order(arguments[0], [str(python(self.peer.name)), "-m", "ledger", *arguments]))

    def start_worker(self) -> None:
        command = [str(python(self.peer.name)), "-m", "ops.bench.producer", self.peer.name, "work"]
        self.crew.start(Order("worker", command, patience=20))

    def warm_worker(self) -> None:
        """Start the worker unless it is there, and wait until it runs jobs."""
        if "worker" not in self.crew.pids:
            self.start_worker()
        first = self.numbers(WARM_UP)
        self.produce("one", first, count=WARM_UP)
        self.await_started(first, WARM_UP)

    def stop_worker(self) -> None:
        self.crew.stop("worker")

    def numbers(self, count: int) -> int:
        """Give out so many job numbers; return the first."""
        first, self._next = self._next, self._next + count
        return first

    def produce(self, verb: str, first: int, **options: Any) -> dict[str, Any]:
        """Let the producer do something and return what it measured."""
        return json.loads(self._run(verb, json.dumps({"first": first, **options})).splitlines()[-1])

    def producing(self, verb: str, first: int, **options: Any) -> Production:
        """Let the producer begin something and return at once."""
        return Production(subprocess.Popen(self._producer(verb, json.dumps({"first": first, **options})),
                                           env=self.environment, cwd=ROOT, stdout=subprocess.PIPE,
                                           stderr=self._log, text=True))  # fmt: skip

    def await_started(self, first: int, count: int) -> None:
        """Wait until all these jobs have started; raise Failure when nothing moves any more."""
        self.await_some(first, count, count)

    def await_some(self, first: int, count: int, wanted: int) -> None:
        """Wait until so many of these jobs have started; raise Failure when nothing moves any more."""
        missing, moved = count, time.monotonic()
        while missing > count - wanted:
            self.watch(0.02)
            now = self.started.missing(first, count)
            if now < missing:
                missing, moved = now, time.monotonic()
            if time.monotonic() - moved > STALL:
                raise Failure(f"no job has started for {STALL:g} s; {count - missing:,} of {count:,} have")

    def await_first(self, first: int, count: int) -> None:
        """Wait until one of these jobs has started."""
        begun = time.monotonic()
        while self.started.missing(first, count) == count:
            self.watch(0.002)
            if time.monotonic() - begun > STALL:
                raise Failure(f"the worker has not begun within {STALL:g} s")

    def await_caught_up(self) -> float:
        """Wait until all read models know of everything; return how long that took. Others have none."""
        begun = time.monotonic()
        if self.is_ledger:
            ledger_side.await_caught_up(self.servers, self.watch)
        return time.monotonic() - begun

    def watch(self, seconds: float) -> None:
        """Let time pass; raise Failure if a process has ended meanwhile."""
        if (news := self.crew.news(timeout=seconds)) is not None:
            words = news.in_words() if hasattr(news, "in_words") else str(news)  # type: ignore[union-attr]
            raise Failure(f"{words}; see {self._log.name}")

    def cpu(self) -> dict[str, float]:
        """Return CPU seconds so far by kind of process."""
        own = {name: usage.cpu_seconds(pid) for name, pid in self.crew.pids.items()}
        return own | servers.cpu(self.servers)

    def _producer(self, verb: str, options: str) -> list[str]:
        return [str(python(self.peer.name)), "-m", "ops.bench.producer", self.peer.name, verb, options]

    def _run(self, verb: str, options: str = "{}") -> str:
        done = subprocess.run(self._producer(verb, options), env=self.environment, cwd=ROOT, check=False,
                              capture_output=True, text=True, timeout=PRODUCER_LIMIT)  # fmt: skip
        self._log.write(done.stderr)
        if done.returncode:
            words = (done.stderr or done.stdout).strip().splitlines()
            raise Failure(f"the producer's {verb} failed: {words[-1] if words else done.returncode}")
        return done.stdout


class Production:
    """A producer at work."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def running(self) -> bool:
        return self._process.poll() is None

    def result(self, seconds: float) -> dict[str, Any]:
        try:
            out, _ = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise Failure("the producer did not come to an end") from None
        if self._process.returncode:
            raise Failure(f"the producer ended with exit code {self._process.returncode}")
        return json.loads(out.splitlines()[-1])


def spent(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Return what each kind of process has used in between."""
    return {kind: after[kind] - before.get(kind, 0.0) for kind in after}


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)
