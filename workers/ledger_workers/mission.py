"""What a supervisor and its child say to each other; apart from the child's program, which is not the supervisor's."""

from __future__ import annotations

import socket

import msgspec

from ledger.settings import Queue
from ledger_workers.wear import Wear

GO, RETIRE = b"go\n", b"retire\n"
"""What the supervisor says."""


class Mission(msgspec.Struct, frozen=True):
    """What the supervisor tells a child on its command line."""

    app: str
    tag: str
    """The last part of the worker's id."""
    line: int
    """Descriptor of the socket to the supervisor."""
    board: int
    """Descriptor of the board."""
    queues: tuple[Queue, ...]
    concurrency: int
    shutdown_seconds: float
    drain: bool
    wear: Wear
    tells: bool
    """Whether the supervisor wants to know what it counts."""


class Report(msgspec.Struct, frozen=True):
    """What a child says once it has loaded its application."""

    database_url: str
    redis_url: str
    types: tuple[str, ...]


def worker_id(pid: int, tag: str) -> str:
    """Return the id of a worker process, the same string in logs, events, heartbeats and metrics."""
    return f"{socket.gethostname()}-{pid}-{tag}"
