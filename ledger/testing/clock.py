"""The clock that tests move by hand: the time that the rules see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.requests import instant, span
from ledger.runtime.clock import SystemClock

if TYPE_CHECKING:
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

    def now(self) -> datetime:
        return self._at

    def advance(self, by: Duration) -> datetime:
        """Move forward by a timedelta, seconds, or a duration such as `90s`; return the new time."""
        self._at += span(by)
        return self._at

    def move_to(self, at: datetime | str) -> datetime:
        """Set the time, which may also go back, and return it."""
        self._at = instant(at)
        return self._at
