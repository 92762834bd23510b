"""The slots: how many jobs this process may hold, which is how many run at once and, of very short ones, a few more.

While jobs take milliseconds, a worker that leased one for each free slot would spend its time waiting for Postgres. So
it may hold as many more as it has lately finished in 150 ms, for 60 to 100 pass from message to outcome where hundreds
share a statement; of jobs that take longer than 50 ms it holds none ahead. A slot is free again when the
outcome is on record, so results never pile up; a job held ahead that waits in vain is given back
(`ledger_workers.watch`).
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_AHEAD = 0.15
_MOST_AHEAD = 300
"""For each slot, so that a board has an end."""
_MEASURED = 0.005
"""Seconds over which the rate is taken, at least."""
_WEIGHT_OF_NEWS = 0.4


class Slots:
    """Counts what is held. Safe to share by threads."""

    def __init__(self, concurrency: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.concurrency = concurrency
        self.most = concurrency * (1 + _MOST_AHEAD)
        self._condition = threading.Condition()
        self._held = 0
        self._limit = concurrency
        self._rate = 0.0
        """Jobs finished in a second, lately."""
        self._finished = 0
        self._clock = clock
        self._since = clock()

    @property
    def held(self) -> int:
        return self._held

    @property
    def are_ahead(self) -> bool:
        """Whether more is held than runs at once."""
        return self._held > self.concurrency

    def wait(self, timeout: float) -> int:
        """Return how many are free, waiting for one as long as none is."""
        with self._condition:
            self._condition.wait_for(lambda: self._held < self._limit, timeout)
            return max(self._limit - self._held, 0)

    def take(self, count: int) -> None:
        with self._condition:
            self._held += count

    def give_back(self, count: int) -> None:
        """Free slots that were taken and not used."""
        with self._condition:
            self._held -= count
            self._condition.notify_all()

    def free(self, count: int) -> None:
        """Free the slots of jobs that have finished."""
        with self._condition:
            self._held -= count
            self._learn(count)
            self._condition.notify_all()

    def wait_until_empty(self, timeout: float) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: self._held == 0, timeout)

    def wake(self) -> None:
        """Let whoever waits look again."""
        with self._condition:
            self._condition.notify_all()

    def _learn(self, finished: int) -> None:
        self._finished += finished
        now = self._clock()
        if (passed := now - self._since) < _MEASURED:
            return
        self._rate += (self._finished / passed - self._rate) * _WEIGHT_OF_NEWS
        self._finished, self._since = 0, now
        ahead = min(int(self._rate * _AHEAD), self.concurrency * _MOST_AHEAD)
        self._limit = self.concurrency + (ahead if ahead > self.concurrency * 3 else 0)
