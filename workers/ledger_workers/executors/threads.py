"""The threads: each runs one job after the other, so there are never more jobs at once than threads."""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger_workers.leases import Run


class Threads:
    """A fixed number of daemon threads and the jobs that wait for one, in order.

    `work` may return another job that it has taken with `next` and that its thread has to do.
    """

    def __init__(self, count: int, work: Callable[[Run], Run | None]) -> None:
        self._waiting: SimpleQueue[Run | None] = SimpleQueue()
        self._work = work
        self._threads = [
            threading.Thread(target=self._run, name=f"handler {number}", daemon=True) for number in range(1, count + 1)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def submit(self, run: Run) -> None:
        self._waiting.put(run)

    def next(self) -> Run | None:
        """Take the job that has waited longest, if one waits; for a thread that `work` keeps busy."""
        try:
            run = self._waiting.get_nowait()
        except Empty:
            return None
        if run is None:
            self._waiting.put(None)  # that was the word for a thread to end
        return run

    def withdraw(self) -> list[Run]:
        """Take back the jobs that no thread has begun."""
        taken: list[Run] = []
        try:
            while True:
                run = self._waiting.get_nowait()
                if run is not None:
                    taken.append(run)
        except Empty:
            return taken

    def stop(self) -> None:
        """Let each thread end after the job it is in."""
        for _ in self._threads:
            self._waiting.put(None)

    def _run(self) -> None:
        # Python lets anyone raise an exception in another thread. One that strikes here, between two jobs, is nobody's
        # business: a thread that ended would be a slot less for good.
        while True:
            with suppress(BaseException):
                for run in iter(self._waiting.get, None):
                    rest: Run | None = run
                    while rest is not None:
                        rest = self._work(rest)
                return
