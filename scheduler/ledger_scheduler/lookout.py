"""The lookout: one question a poll for all whose time may have come, so that the loops of an idle scheduler sleep.

Each of them looks for itself once it is roused, and waits by itself for a moment that it has seen coming.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger_projections.reading import reading

from ledger.runtime.prepared import Question
from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from datetime import timedelta

    from ledger.runtime.database import Database
    from ledger.runtime.service import Loop

_OUTLOOK = Question("outlook", statement("ledger_scheduler", "select_outlook"))


class Lookout:
    """Rouses the loops that have something to do before its next turn."""

    name = "lookout"

    def __init__(self, database: Database, poll: timedelta, *, due: Loop, ticks: Loop, expiry: Loop) -> None:
        self._database = database
        # For the moment of an expiry nobody waits.
        self._loops = (due, poll.total_seconds()), (ticks, poll.total_seconds()), (expiry, 0.0)

    def run_once(self) -> bool:
        with reading(self._database) as connection:
            outlook = _OUTLOOK.ask_all(connection)
        for seconds, (loop, soon) in zip(outlook, self._loops, strict=True):
            if seconds is not None and seconds <= soon:
                loop.rouse()
        return False
