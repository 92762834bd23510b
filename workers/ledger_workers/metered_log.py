"""The log as a worker uses it, with what goes into it and what it refuses counted on the way."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ledger.events import KINDS, Kind
from ledger.log import Append, Blocked, Log, Outcome, Recorded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from ledger.events import Entry
    from ledger.log import Lease
    from ledger.runtime.clock import Clock
    from ledger_workers.completer import ClockedLog
    from ledger_workers.metrics import Meters


class MeteredLog(Log):
    """Passes everything on."""

    def __init__(self, log: ClockedLog, meters: Meters) -> None:
        self._log = log
        self._meters = meters

    @property
    def clock(self) -> Clock:
        return self._log.clock

    def append(self, appends: Sequence[Append]) -> list[Outcome]:
        outcomes = self._log.append(appends)
        taken: Counter[tuple[Kind, str]] = Counter()
        for append, outcome in zip(appends, outcomes, strict=True):
            if isinstance(outcome, Recorded):
                taken.update((KINDS[type(event)], append.queue) for event in append.events)
            elif not isinstance(outcome, Blocked):
                self._meters.conflicts.inc()
        self._meters.appended(taken)
        return outcomes

    def lease(self, leases: Sequence[Lease], worker_id: str) -> list[tuple[Entry, ...]]:
        won = self._log.lease(leases, worker_id)
        self._meters.appended(Counter((Kind.LEASED, history[-1].queue) for history in won))
        return won

    def history(self, job_id: UUID) -> tuple[Entry, ...]:
        return self._log.history(job_id)

    def histories(self, job_ids: Iterable[UUID]) -> dict[UUID, tuple[Entry, ...]]:
        return self._log.histories(job_ids)
