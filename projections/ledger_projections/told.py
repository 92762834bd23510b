"""What dispatchers have been told: which messages those who made jobs ready have added, so nobody need do it again.

To be told of a message is no more than to have added it: Redis may lose it afterwards, and what heals that one heals
this one. To have forgotten, or not to have heard, costs a message twice, which the log refuses. So a bounded memory
will do, and nobody sits and listens: what is said waits at this end of the connection until a dispatcher has jobs to
ask about. To be woken by it would take the processor from the worker that is woken by the message itself.
"""

from __future__ import annotations

import time
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any

from ledger import keys
from ledger.runtime import redis

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ledger_projections.redis_streams import Ready

KEPT = 20_000
"""Names in each of two shares, of which the older is forgotten when the younger is full. The log is read many times a
second."""
LATELY = 1.0
"""Seconds."""
_PAUSE_WHEN_DOWN = 1.0
_PATIENCE = 0.1
"""Seconds for the rest of a message whose beginning is there."""


class Told:
    """The names of such messages. For one thread; never raises for Redis, which may be away."""

    def __init__(self, redis_url: str) -> None:
        self._client = redis.connect(redis_url, name="ledger-told")
        self._channel: Any = None
        self._again_at = -inf
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()
        self._told_at = -inf

    @property
    def lately(self) -> bool:
        """Whether somebody is telling: what we have not been told of is then most likely about to be."""
        return time.monotonic() - self._told_at < LATELY

    def hear(self) -> None:
        """Take in what was said since the last time; from the first time on it is kept for us."""
        if time.monotonic() < self._again_at:
            return
        try:
            if self._channel is None:
                self._channel = self._client.pubsub(ignore_subscribe_messages=True)
                self._channel.subscribe(keys.TOLD)
            while self._channel.connection.can_read(0):
                if message := self._channel.get_message(timeout=_PATIENCE):
                    self.add(message["data"].split())
        except redis.TRANSIENT:
            self._again_at = time.monotonic() + _PAUSE_WHEN_DOWN
            self._hang_up()

    def add(self, names: Iterable[bytes]) -> None:
        if len(self._young) >= KEPT:
            self._old, self._young = self._young, set()
        self._young.update(names)
        self._told_at = time.monotonic()

    def others(self, jobs: Sequence[Ready]) -> Sequence[Ready]:
        """Return the jobs whose messages nobody has told of."""
        if not jobs:
            return jobs
        self.hear()
        young, old = self._young, self._old
        if not young and not old:
            return jobs
        return [job for job in jobs if job.name not in young and job.name not in old]

    def forget(self) -> None:
        """What was told may be gone from Redis."""
        self.hear()
        self._young, self._old = set(), set()

    def close(self) -> None:
        self._hang_up()
        self._client.close()

    def _hang_up(self) -> None:
        channel, self._channel = self._channel, None
        with suppress(*redis.TRANSIENT):
            if channel is not None:
                channel.close()
