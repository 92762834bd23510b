"""The places: as many as jobs run at once, each held by a job in a thread or on the event loop.

Jobs take their turn in the order they came, whatever they are. A place that falls free goes straight to the job that
has waited longest: in the same thread, or on the loop, where the two are of one kind, so that in a busy worker nobody
is woken.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ledger_workers.executors.loop import LoopThread
    from ledger_workers.leases import Run


class Places:
    """A fixed number of places, and the jobs that wait for one. Safe to share by threads.

    `work` does one job from beginning to end and never raises; `is_for_the_loop` says where.
    """

    def __init__(
        self, count: int, work: Callable[[Run], None], loop: LoopThread, is_for_the_loop: Callable[[Run], bool]
    ) -> None:
        self._work = work
        self._loop = loop
        self._is_for_the_loop = is_for_the_loop
        self._lock = threading.Lock()
        self._free = count
        self._waiting: deque[Run] = deque()
        self._in_threads = 0
        """Places held by threads."""
        self._handed: SimpleQueue[Run | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, runs: Sequence[Run]) -> None:
        """Let these jobs wait for their turn, which may be now."""
        with self._lock:
            self._waiting.extend(runs)
            turn = [self._waiting.popleft() for _ in range(min(self._free, len(self._waiting)))]
            self._free -= len(turn)
        if not turn:
            return
        for_the_loop: list[Run] = []
        for run in turn:
            if self._is_for_the_loop(run):
                for_the_loop.append(run)
            else:
                self._hand_over(run)
        if for_the_loop:
            self._loop.begin(for_the_loop, self._work, self._following_on_loop)

    def withdraw(self) -> list[Run]:
        """Take back the jobs whose turn has not come."""
        with self._lock:
            taken = list(self._waiting)
            self._waiting.clear()
        return taken

    def stop(self) -> None:
        """Let each thread end after the job it is in."""
        for _ in self._threads:
            self._handed.put(None)

    def _hand_over(self, run: Run) -> None:
        """Give a job that holds a place to a thread; there are as many as have been needed at once."""
        with self._lock:
            self._in_threads += 1
            if self._in_threads > len(self._threads):
                name = f"handler {len(self._threads) + 1}"
                self._threads.append(threading.Thread(target=self._run, name=name, daemon=True))
                self._threads[-1].start()
        self._handed.put(run)

    def _next(self) -> Run | None:
        """Return the job that takes over a place; with none that waits, the place is free."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._free += 1
            return None

    def _following_on_loop(self) -> Run | None:
        run = self._next()
        if run is None or self._is_for_the_loop(run):
            return run
        self._hand_over(run)
        return None

    def _following_in_thread(self) -> Run | None:
        run = self._next()
        if run is not None and not self._is_for_the_loop(run):
            return run
        with self._lock:
            self._in_threads -= 1
        if run is not None:
            self._loop.begin([run], self._work, self._following_on_loop)
        return None

    def _run(self) -> None:
        while (run := self._handed.get()) is not None:
            while run is not None:
                # Python lets anyone raise an exception in another thread. One that strikes on the way to a job must not
                # take the job with it, nor the thread: it would be a place less for good.
                try:
                    self._work(run)
                except BaseException:  # noqa: BLE001
                    with suppress(BaseException):
                        self._work(run)
                run = self._following_in_thread()
