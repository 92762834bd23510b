"""The slots: how many jobs this process may hold, which is how many run at once and, of very short ones, a few more.

While jobs take milliseconds, a worker that leased one for each free slot would spend its time waiting for Postgres. So
it may hold as many more as its slots finish in 20 ms; of longer jobs, none. A slot is free again when the outcome is on
record, so results never pile up.
"""

from __future__ import annotations

import threading

_AHEAD = 0.02
_MOST_AHEAD = 50
"""For each slot, so that a board has an end."""
_WEIGHT_OF_NEWS = 0.2


class Slots:
    """Counts what is held. Safe to share by threads."""

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.most = concurrency * (1 + _MOST_AHEAD)
        self._condition = threading.Condition()
        self._held = 0
        self._limit = concurrency
        self._run_time = _AHEAD

    @property
    def held(self) -> int:
        return self._held

    def wait(self, timeout: float) -> int:
        """Return how many are free, waiting for one as long as none is."""
        with self._condition:
            self._condition.wait_for(lambda: self._held < self._limit, timeout)
            return max(self._limit - self._held, 0)

    def take(self, count: int) -> None:
        with self._condition:
            self._held += count

    def free(self, count: int, run_time: float | None = None) -> None:
        """Give slots back; `run_time` is how long these jobs ran on average, in seconds."""
        with self._condition:
            self._held -= count
            if run_time is not None:
                self._learn(run_time)
            self._condition.notify_all()

    def wait_until_empty(self, timeout: float) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: self._held == 0, timeout)

    def wake(self) -> None:
        """Let whoever waits look again."""
        with self._condition:
            self._condition.notify_all()

    def _learn(self, run_time: float) -> None:
        # Slower at once, faster by and by: one long job ends the holding ahead, many short ones bring it back.
        news = max(run_time, 1e-6)
        self._run_time = news if news > self._run_time else self._run_time + (news - self._run_time) * _WEIGHT_OF_NEWS
        ahead = int(min(_AHEAD / self._run_time, _MOST_AHEAD)) if self._run_time < _AHEAD else 0
        self._limit = self.concurrency * (1 + ahead)
