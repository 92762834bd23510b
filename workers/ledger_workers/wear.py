"""Wear: after how many jobs, or at what size, a process is replaced by a fresh one.

What leaks in handlers, and in what they use, ends with their process. A worker that has had all the jobs it may have
takes no more by itself; its size is looked at from outside.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ledger_workers.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Wear(msgspec.Struct, frozen=True):
    """What a process may take before it is replaced; None is without end."""

    max_jobs: int | None = None
    max_memory: int | None = None
    """Resident bytes."""

    def is_used_up(self, jobs: int) -> bool:
        return self.max_jobs is not None and jobs >= self.max_jobs

    def is_too_large(self, pid: int) -> bool:
        return self.max_memory is not None and resident_bytes(pid) > self.max_memory


UNWEARING = Wear()


class RationedSlots(Slots):
    """Slots of a process that takes so many jobs and no more; it says when they are all taken."""

    def __init__(self, concurrency: int, max_jobs: int, on_worn: Callable[[], None]) -> None:
        super().__init__(concurrency)
        self._left = max_jobs
        self._on_worn = on_worn

    def wait(self, timeout: float) -> int:
        if self._left <= 0:
            self._on_worn()
            with self._condition:
                self._condition.wait(timeout)
            return 0
        return min(super().wait(timeout), self._left)

    def take(self, count: int) -> None:
        super().take(count)
        self._left -= count  # by one thread only

    def give_back(self, count: int) -> None:
        super().give_back(count)
        self._left += count


def rationed(concurrency: int, max_jobs: int | None, on_worn: Callable[[], None]) -> Slots:
    return Slots(concurrency) if max_jobs is None else RationedSlots(concurrency, max_jobs, on_worn)


def resident_bytes(pid: int) -> int:
    """Return how much memory a process holds; 0 when it has gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0
