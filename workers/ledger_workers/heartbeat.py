"""Heartbeats: one row a worker process, beaten by the supervisor, which no handler can keep from it.

Only Postgres' clock is written and compared. Who has no row, or an old one, is taken for dead: so a process gets its
row before its first lease, and loses it after the last one is closed.
"""

from __future__ import annotations

import importlib.metadata
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ledger.runtime.database import Database

_BEAT = statement("ledger_workers", "beat")
_LEAVE = statement("ledger_workers", "leave")


@dataclass(frozen=True, slots=True)
class Beat:
    """What there is to say about a worker process now."""

    worker_id: str
    pid: int
    running: int
    stopping: bool


class Heartbeat:
    """Writes the rows of one supervisor's processes. Both methods may raise Unavailable."""

    def __init__(self, database: Database, queues: Sequence[str], concurrency: int) -> None:
        self._database = database
        self._constant = {
            "hostname": socket.gethostname(),
            "version": importlib.metadata.version("jobledger"),
            "queues": list(queues),
            "concurrency": concurrency,
        }

    def beat(self, beats: Iterable[Beat]) -> None:
        """Say that these processes are alive."""
        rows = [
            {
                **self._constant,
                "id": beat.worker_id,
                "pid": beat.pid,
                "running": beat.running,
                "stopping": beat.stopping,
            }
            for beat in beats
        ]
        if rows:
            with self._database.connection() as connection:
                connection.execute(_BEAT, {"workers": orjson.dumps(rows).decode()})

    def leave(self, worker_id: str) -> None:
        """Strike a process off the list."""
        with self._database.connection() as connection:
            connection.execute(_LEAVE, {"id": worker_id})
