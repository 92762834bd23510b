"""The paused queues, as this worker knows them: it asks nothing of them until they are resumed.

That nothing is leased from a paused queue is the doing of the lease statement itself; this here keeps a worker from
trying in vain. So a worker without paused queues asks nobody, and learns of a pause by the first lease that is refused.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ledger.pauses import paused

if TYPE_CHECKING:
    from ledger.runtime.database import Database
    from ledger_workers.turns import Turns

LOOK_EVERY = 0.5
"""Seconds within which a worker notices that a queue was resumed."""


class Pauses:
    """Tells the turns which queues to leave out. Every method that looks may raise Unavailable."""

    def __init__(self, database: Database, turns: Turns) -> None:
        self._database = database
        self._turns = turns
        self._looked_at = 0.0

    @property
    def queues(self) -> frozenset[str]:
        return self._turns.paused

    @property
    def leave_nothing(self) -> bool:
        """Whether there is no queue left to ask."""
        return self.queues.issuperset(self._turns.queues)

    def look(self) -> None:
        """Find out what is paused now."""
        self._turns.paused = paused(self._database).intersection(self._turns.queues)
        self._looked_at = time.monotonic()

    def look_again(self) -> None:
        """Find out, now and then, whether what was paused still is."""
        if self.queues and time.monotonic() - self._looked_at >= LOOK_EVERY:
            self.look()
