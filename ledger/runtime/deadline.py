"""A time limit for all that a thread asks of Postgres: when it passes, the statement under way is cancelled.

The limit is kept here and not by the server's `statement_timeout`, which a pooler in transaction mode would hand on to
other clients. One watchman thread serves the whole process; without a limit nothing is watched and nothing costs.
"""

from __future__ import annotations

import heapq
import threading
import time
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import timedelta

_CANCEL_WAIT = 2.0

_deadline: ContextVar[float | None] = ContextVar("ledger_deadline", default=None)


def start(span: timedelta) -> None:
    """Give this thread's context so long from now; a later call begins anew."""
    _deadline.set(time.monotonic() + span.total_seconds())


def clear() -> None:
    """Lift the limit: what this thread does next is not part of it."""
    _deadline.set(None)


def remaining() -> float | None:
    """Return the seconds that are left, None where there is no limit."""
    deadline = _deadline.get()
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)


class _Watched:
    """A connection in use. The lock keeps the watchman from cancelling what its next user does."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._done = False

    def cancel(self) -> None:
        with self._lock, suppress(psycopg.Error):
            if not self._done:
                self._connection.cancel_safe(timeout=_CANCEL_WAIT)

    def end(self) -> None:
        with self._lock:
            self._done = True


class _Watchman:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, _Watched]] = []
        self._numbers = count()
        self._thread: threading.Thread | None = None

    def add(self, at: float, watched: _Watched) -> None:
        with self._changed:
            heapq.heappush(self._due, (at, next(self._numbers), watched))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)
                self._thread.start()
            elif self._due[0][2] is watched:
                self._changed.notify()

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._due or self._due[0][0] > time.monotonic():
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                _, _, watched = heapq.heappop(self._due)
            watched.cancel()


_watchman = _Watchman()


@contextmanager
def watch(connection: psycopg.Connection[Any]) -> Generator[None]:
    """Cancel what the connection is doing when the time of this context is over; the driver raises QueryCanceled."""
    deadline = _deadline.get()
    if deadline is None:
        yield
        return
    watched = _Watched(connection)
    _watchman.add(deadline, watched)
    try:
        yield
    finally:
        watched.end()
