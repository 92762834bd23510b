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

_OUTLOOK = Question("outlook", statement("ledger_scheduler", "select_outlook"), "within")


class Lookout:
    """Rouses the loops that have something to do before its next turn."""

    name = "lookout"

    def __init__(self, database: Database, poll: timedelta, *, due: Loop, ticks: Loop, expiry: Loop) -> None:
        self._database = database
        self._within = b"%f" % poll.total_seconds()
        self._loops = {1: due, 2: ticks, 4: expiry}

    def run_once(self) -> bool:
        with reading(self._database) as connection:
            found = _OUTLOOK.ask(connection, self._within)
        for sign, loop in self._loops.items():
            if found & sign:
                loop.rouse()
        return False
