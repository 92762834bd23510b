"""The board: what a worker process holds, in memory it shares with its supervisor, readable even after `kill -9`.

A line a lease: the job's id and whether its handler has been started. A lease is noted before it is asked for and wiped
after its outcome is on record, so the board never holds too little; what it holds too much, the log tells. The file has
no name and goes with its last process.
"""

from __future__ import annotations

import itertools
import mmap
import os
import struct
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = struct.Struct("<Id")
_WORN = _HEAD.size
_LINES = _HEAD.size + 1
_LINE = struct.Struct("<B16s")
_FREE, _LEASED, _STARTED = range(3)


@dataclass(frozen=True, slots=True)
class Note:
    """A lease that a process held when the board was read."""

    job_id: UUID
    started: bool
    """Only what had been started can have ended the process."""


class Board:
    """Written by one process, read by another. The writer's threads share it: lines are taken and freed atomically."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, 0)
        self.size = (len(self._memory) - _LINES) // _LINE.size
        self._wiped: list[int] = []
        self._unused = itertools.count()

    @classmethod
    def create(cls, size: int) -> Self:
        """Make an empty board; pass `descriptor` on to the process that is to write it."""
        with tempfile.TemporaryFile() as file:
            file.truncate(_LINES + size * _LINE.size)
            board = cls(os.dup(file.fileno()))
        board.beat(0)  # a process that is just starting has not stood still since the machine started
        return board

    def lease(self, job_id: UUID) -> int:
        """Note a lease about to be asked for; return its line."""
        try:
            line = self._wiped.pop()
        except IndexError:
            line = next(self._unused)
        _LINE.pack_into(self._memory, _LINES + line * _LINE.size, _LEASED, job_id.bytes)
        return line

    def start(self, line: int) -> None:
        self._memory[_LINES + line * _LINE.size] = _STARTED

    def wipe(self, line: int) -> None:
        self._memory[_LINES + line * _LINE.size] = _FREE
        self._wiped.append(line)

    def beat(self, running: int) -> None:
        """Say how many jobs run, and that the fetcher has turned."""
        _HEAD.pack_into(self._memory, 0, running, time.monotonic())

    def wear_out(self) -> None:
        """Say that this process has had all the jobs it may have."""
        self._memory[_WORN] = True

    def is_worn(self) -> bool:
        return bool(self._memory[_WORN])

    def running(self) -> int:
        return _HEAD.unpack_from(self._memory)[0]

    def seconds_since_beat(self) -> float:
        """How long ago the fetcher last turned: a worker that is up but takes nothing must be noticed."""
        return time.monotonic() - _HEAD.unpack_from(self._memory)[1]

    def notes(self) -> Iterator[Note]:
        """Return what is held now."""
        for line in range(self.size):
            state, job_id = _LINE.unpack_from(self._memory, _LINES + line * _LINE.size)
            if state != _FREE:
                yield Note(UUID(bytes=job_id), state == _STARTED)

    def close(self) -> None:
        self._memory.close()
        os.close(self.descriptor)
