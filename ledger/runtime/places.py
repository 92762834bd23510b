"""How many threads work at a time, and that one which waits for another's work is not one of them.

Who appends while a flush is under way has nothing to do until it is over. With a place of its own it would keep out the
next one, who would go into the same group: the fewer wait together, the more flushes there are.
"""

from __future__ import annotations

from contextvars import ContextVar
from queue import SimpleQueue


class Places:
    """So many places, for more threads than that."""

    def __init__(self, number: int) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(number):
            self._free.put(None)

    def take(self) -> None:
        """Wait for a place, unless this thread has kept the one it had."""
        if _held.get() is None:
            self._free.get()
            _held.set(self)

    def free(self) -> None:
        _held.set(None)
        self._free.put(None)


_held: ContextVar[Places | None] = ContextVar("ledger_place", default=None)


def leave() -> None:
    """Leave this thread's place, if it has one, to the next: it goes on without when what it waits for is there."""
    if (places := _held.get()) is not None:
        places.free()
