"""The one clock of the benchmark: a file of times, a slot a job, shared by all processes of whatever system.

A handler writes the monotonic clock, which all processes of a machine share, into the slot of its job's number; that is
all a job does. The harness reads the same memory, so nothing is buffered, flushed or lost with a killed worker.
"""

from __future__ import annotations

import mmap
import os
import time
from array import array
from pathlib import Path

_WIDTH = 8


class Stamps:
    """Times in nanoseconds by job number; zero where nothing has happened yet."""

    def __init__(self, path: Path, capacity: int = 0) -> None:
        """Open the file; with a capacity make it. What is never written takes no room on the disk."""
        if capacity:
            with path.open("wb") as file:
                file.truncate(capacity * _WIDTH)
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._slots = memoryview(self._memory).cast("q")

    def stamp(self, number: int) -> None:
        self._slots[number] = time.monotonic_ns()

    def times(self, first: int, count: int) -> array[int]:
        return array("q", self._memory[first * _WIDTH : (first + count) * _WIDTH])

    def missing(self, first: int, count: int) -> int:
        """Say how many of these jobs have no stamp."""
        return self.times(first, count).count(0)


CALLED, STARTED = "called", "started"
"""When the producer asked for the job, and when its handler began."""


def opened(name: str, capacity: int = 0, place: Path | None = None) -> Stamps:
    """Open the stamps of this name in a directory, without one in that which the harness has chosen."""
    return Stamps((place or Path(os.environ["BENCH_STAMPS"])) / name, capacity)
