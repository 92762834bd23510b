"""Messages of types that nobody here knows: held for a while, then put back for a worker that does.

The pauses grow while a type keeps coming back, so that a queue without the right worker costs next to nothing; any
number of messages beyond a bound goes back at once.
"""

from __future__ import annotations

import heapq
import time
from itertools import count
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from uuid import UUID

    from ledger_workers.messages import Delivery
    from ledger_workers.metrics import Meters

log = structlog.get_logger()

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 5.0
_MOST = 500
_MOST_KNOWN = 10_000


class Strangers:
    """What this worker took and cannot run. Used by the fetcher's thread only."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._held: list[tuple[float, int, Delivery]] = []
        self._pauses: dict[str, float] = {}
        self._number = count()
        self._known: dict[UUID, None] = {}

    def hold(self, delivery: Delivery) -> None:
        """Keep a message back for the pause of its type, which doubles each time."""
        type_ = delivery.message.type
        pause = self._pauses.get(type_)
        if pause is None:
            log.warning("unknown type, put back for another worker", type=type_, queue=delivery.queue)
        self._pauses[type_] = min((pause or _FIRST_PAUSE / 2) * 2, _LONGEST_PAUSE)
        self._meters.unknown.labels(delivery.queue).inc()
        heapq.heappush(self._held, (time.monotonic() + self._pauses[type_], next(self._number), delivery))

    def remember(self, job_id: UUID) -> None:
        """Know this job from now on: it cannot be run here, though its type can."""
        if len(self._known) >= _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[job_id] = None

    def __contains__(self, job_id: UUID) -> bool:
        return job_id in self._known

    def due(self) -> list[Delivery]:
        """Give up what has been held long enough, or is too much to hold."""
        due: list[Delivery] = []
        now = time.monotonic()
        while self._held and (self._held[0][0] <= now or len(self._held) > _MOST):
            due.append(heapq.heappop(self._held)[2])
        return due

    def all(self) -> list[Delivery]:
        """Give up everything."""
        held, self._held = self._held, []
        return [delivery for _, _, delivery in held]
