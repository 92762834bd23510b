"""Whose turn it is: how the messages wanted are shared among the queues.

In order, the first queue gets all it can fill and the next ones what is left over. By weight, each message is a draw of
smooth weighted round robin among the queues that have work; a queue that runs dry saves up no credit. Paused queues
are left out.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ledger.settings import Queue


_REST_OF_THE_EMPTY = 0.05
"""Seconds for which a queue found empty is not asked first; never for good, or the busy ones would starve it."""


class Turns(Protocol):
    """Which queues to ask, for how many messages."""

    queues: tuple[str, ...]
    paused: frozenset[str]

    def first(self, wanted: int) -> Sequence[tuple[str, int]]:
        """Return the queues to ask first, each with its share."""
        ...

    def served(self, queue: str, asked: int, got: int) -> None:
        """Learn what came of asking."""
        ...

    def rest(self) -> Iterable[str]:
        """Return the queues that may fill what is still free."""
        ...


class InOrder:
    """The queue named first always goes first."""

    def __init__(self, queues: Sequence[str]) -> None:
        self.queues = tuple(queues)
        self.paused: frozenset[str] = frozenset()

    def first(self, wanted: int) -> Sequence[tuple[str, int]]:  # noqa: ARG002 — a protocol's
        return ()

    def served(self, queue: str, asked: int, got: int) -> None:
        pass

    def rest(self) -> Iterable[str]:
        return [queue for queue in self.queues if queue not in self.paused]


class ByWeight:
    """Every queue with work gets its share, in the proportion of the weights, message by message."""

    def __init__(self, weights: dict[str, int]) -> None:
        self.queues = tuple(sorted(weights, key=lambda queue: -weights[queue]))
        self.paused: frozenset[str] = frozenset()
        self._weights = weights
        self._credit = dict.fromkeys(weights, 0)
        self._empty_until = dict.fromkeys(weights, 0.0)

    def first(self, wanted: int) -> Sequence[tuple[str, int]]:
        shares = dict.fromkeys(self.queues, 0)
        now = time.monotonic()
        asked = self.rest()
        drawing = [queue for queue in asked if self._empty_until[queue] <= now] or asked
        total = sum(self._weights[queue] for queue in drawing)
        for _ in range(wanted if drawing else 0):
            for queue in drawing:
                self._credit[queue] += self._weights[queue]
            best = max(drawing, key=self._credit.__getitem__)
            self._credit[best] -= total
            shares[best] += 1
        return [(queue, share) for queue, share in shares.items() if share]

    def served(self, queue: str, asked: int, got: int) -> None:
        if got < asked:
            self._credit[queue] = 0
            self._empty_until[queue] = time.monotonic() + _REST_OF_THE_EMPTY

    def rest(self) -> Sequence[str]:
        return [queue for queue in self.queues if queue not in self.paused]


def turns(queues: Sequence[Queue]) -> Turns:
    """Return the turns that these settings ask for."""
    weights = {queue.name: queue.weight for queue in queues if queue.weight is not None}
    return ByWeight(weights) if weights else InOrder([queue.name for queue in queues])
