"""Ready jobs straight from the read model: where work comes from while Redis is away.

Dispatch only carries hints, so work goes on without it, if less briskly; workers that pick the same job are told apart
by the log, as always.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ledger.message import Message
from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ledger.runtime.database import Database

_SELECT = statement("ledger_workers", "select_ready")
_HAS_JOBS = statement("ledger_workers", "select_has_jobs")
_REMEMBERED = 1000


class Ready:
    """The ready jobs of some queues and types, as far as the read model knows."""

    def __init__(self, database: Database, queues: Sequence[str], types: Iterable[str]) -> None:
        self._database = database
        self._queues = list(queues)
        self._types = list(types)
        self._tried: deque[Message] = deque(maxlen=_REMEMBERED)

    def take(self, wanted: int) -> list[Message]:
        """Return up to `wanted` jobs that were not returned lately, in the order in which they should run."""
        parameters = {
            "queues": self._queues,
            "types": self._types,
            "tried": [message.job_id for message in self._tried],
            "versions": [message.version for message in self._tried],
            "wanted": wanted,
        }
        with self._database.connection() as connection:
            if connection.execute(_HAS_JOBS).fetchone() != (True,):
                return []
            found = [Message(*row) for row in connection.execute(_SELECT, parameters).fetchall()]
        self._tried.extend(found)
        return found

    def forget(self) -> None:
        """Let every job be returned again."""
        self._tried.clear()
