"""The vigil: silence says something only to one who has been listening all the time.

While Postgres is away, no worker can write its heartbeat; when its clock is set forward, every heartbeat is old; after
a restore, those of another day are there. In each case all workers look silent at once, and releasing their leases
would run everything twice. So a worker is judged only by a scheduler that has looked regularly at one and the same
server, for the whole time a worker may be silent, while that server's clock went as fast as its own. A standby that
takes over may do so in a second, with heartbeats as old as what it had received last.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta


class Vigil:
    """Knows since when it has looked without a break. `monotonic` is this machine's steady clock."""

    def __init__(self, timeout: timedelta, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._timeout = timeout.total_seconds()
        self._monotonic = monotonic
        self._since = 0.0
        self._last: tuple[float, datetime] | None = None
        self._server: object = None
        self._missing: dict[str, float] = {}

    def look(self, now: datetime, server: object) -> None:
        """Take note of a look at the database at its time `now`; `server` says which one that was."""
        here = self._monotonic()
        if self._last is None or server != self._server or self._interrupted(here, now):
            self._since = here
            self._missing.clear()
        self._last = here, now
        self._server = server

    def is_long_enough(self) -> bool:
        """Whether an old heartbeat means a silent worker."""
        return self.seconds_left() <= 0

    def seconds_left(self) -> float:
        """Return how much longer it has to last, as of the last look."""
        return self._timeout if self._last is None else self._timeout - (self._last[0] - self._since)

    def missed(self, workers: set[str]) -> set[str]:
        """Return those workers without a row that have been without one all the time."""
        here = self._monotonic()
        self._missing = {worker: self._missing.get(worker, here) for worker in workers}
        return {worker for worker, since in self._missing.items() if here - since >= self._timeout}

    def _interrupted(self, here: float, now: datetime) -> bool:
        assert self._last is not None
        passed = here - self._last[0]
        passed_there = (now - self._last[1]).total_seconds()
        # A third is what a worker has in hand: it beats three times within the time-out.
        return max(passed, abs(passed_there - passed)) > self._timeout / 3
