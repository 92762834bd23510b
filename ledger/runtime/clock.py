"""The one clock: Postgres' own, carried forward between questions by the monotonic clock.

Due times and leases are judged by the database alone. A process that must name a time itself (the `run_at` of a retry)
uses this clock, so a machine whose wall clock is an hour off, or is set back meanwhile, changes nothing.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

RESYNC = timedelta(seconds=60)
"""Two good quartz clocks drift apart by less than 10 ms in that time."""


class Clock(Protocol):
    def now(self) -> datetime:
        """Return the present instant, in UTC."""
        ...


class SystemClock:
    """This machine's wall clock: for messages and for the in-memory log, never for a decision about a shared job."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 — this is the place


class DatabaseClock:
    """Postgres' clock. Asks when it is first used and once a minute after; safe to share by threads."""

    def __init__(self, ask: Callable[[], datetime]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._base: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        base = self._base
        if base is None or time.monotonic() - base[1] > RESYNC.total_seconds():
            base = self._synchronise()
        return base[0] + timedelta(seconds=time.monotonic() - base[1])

    def _synchronise(self) -> tuple[datetime, float]:
        with self._lock:
            before = time.monotonic()
            at = self._ask()
            # The answer was true somewhere between the two readings: the middle is off by half a round trip at most.
            base = (at.astimezone(UTC), (before + time.monotonic()) / 2)
            self._base = base
            return base
