"""What dispatchers have been told: which messages those who made jobs ready have added, so nobody need do it again.

To be told of a message is no more than to have added it: Redis may lose it afterwards, and what heals that one heals
this one. To have forgotten, or not to have heard, costs a message twice, which the log refuses. So a bounded memory
will do.
"""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ledger_projections.redis_streams import Ready

KEPT = 20_000
"""Names in each of two shares, of which the older is forgotten when the younger is full. The log is read many times a
second."""
LATELY = 1.0
"""Seconds."""


class Told:
    """The names of such messages. One thread adds while another asks."""

    def __init__(self) -> None:
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()
        self._told_at = -inf

    @property
    def lately(self) -> bool:
        """Whether somebody is telling: what we have not been told of is then most likely about to be."""
        return time.monotonic() - self._told_at < LATELY

    def add(self, names: Iterable[bytes]) -> None:
        if len(self._young) >= KEPT:
            self._old, self._young = self._young, set()
        self._young.update(names)
        self._told_at = time.monotonic()

    def others(self, jobs: Sequence[Ready]) -> Sequence[Ready]:
        """Return the jobs whose messages nobody has told of."""
        young, old = self._young, self._old
        if not young and not old:
            return jobs
        return [job for job in jobs if job.name not in young and job.name not in old]

    def forget(self) -> None:
        """What was told may be gone from Redis."""
        self._young, self._old = set(), set()
