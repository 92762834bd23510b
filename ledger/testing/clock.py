"""The clock that tests move by hand: the time that the rules see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.requests import instant, span
from ledger.runtime.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ledger.handlers import Duration


class FrozenClock:
    """Stands still until it is moved. Times are given as to `enqueue`: aware, or text with an offset.

    >>> clock = FrozenClock("2026-03-01T12:00:00Z")
    >>> clock.advance("90s").isoformat()
    '2026-03-01T12:01:30+00:00'
    >>> clock.move_to("2026-03-02T00:00:00Z") == clock.now()
    True
    """

    def __init__(self, at: datetime | str | None = None) -> None:
        self._at = SystemClock().now() if at is None else instant(at)
        self._watchers: list[Callable[[], None]] = []

    def now(self) -> datetime:
        return self._at

    def advance(self, by: Duration) -> datetime:
        """Move forward by a timedelta, seconds, or a duration such as `90s`; return the new time."""
        return self._move(self._at + span(by))

    def move_to(self, at: datetime | str) -> datetime:
        """Set the time, which may also go back, and return it."""
        return self._move(instant(at))

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call this after each move; for the test modes."""
        self._watchers.append(watcher)

    def _move(self, to: datetime) -> datetime:
        self._at = to
        for watcher in self._watchers:
            watcher()
        return self._at
