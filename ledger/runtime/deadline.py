"""A time limit for all that a thread asks of Postgres: when it passes, the statement under way is cancelled; where the
server stands still and cancels nothing, its connection is ended.

The limit is kept here and not by the server's `statement_timeout`, which a pooler in transaction mode would hand on to
other clients. One watchman thread serves the whole process; without a limit nothing is watched and nothing costs. What
is done in time, as nearly everything is, leaves no trace: the watchman looks when the first limit that it knows of has
passed, and not before.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager
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

    def __init__(self, connection: psycopg.Connection[Any], at: float) -> None:
        self.at = at
        self._connection = connection
        self._lock = threading.Lock()
        self._done = False

    def cancel(self) -> None:
        with self._lock:
            if self._done:
                return
            try:
                self._connection.cancel_safe(timeout=_CANCEL_WAIT)
            except psycopg.Error:
                self._hang_up()

    def _hang_up(self) -> None:
        """End a conversation with a server that does not even cancel: who waits at this end sees it end."""
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self._connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        with self._lock:
            self._done = True


class _Watchman:
    def __init__(self) -> None:
        self._open: dict[_Watched, None] = {}
        self._sooner = threading.Condition()
        self._looks_at = inf
        self._thread: threading.Thread | None = None

    def add(self, watched: _Watched) -> None:
        self._open[watched] = None
        if watched.at < self._looks_at or self._thread is None or not self._thread.is_alive():
            self._wake(watched.at)

    def remove(self, watched: _Watched) -> None:
        watched.end()
        self._open.pop(watched, None)

    def _wake(self, at: float) -> None:
        with self._sooner:
            self._looks_at = min(self._looks_at, at)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)
                self._thread.start()
            self._sooner.notify()

    def _watch(self) -> None:
        while True:
            with self._sooner:
                # First to sleep, then to look: whoever comes from here on, and is sooner, wakes us.
                self._looks_at = inf
                self._looks_at = min((watched.at for watched in self._open.copy()), default=inf)
                while (left := self._looks_at - time.monotonic()) > 0:
                    self._sooner.wait(None if left == inf else left)
            now = time.monotonic()
            for watched in self._open.copy():
                if watched.at <= now:
                    self._open.pop(watched, None)
                    # Apart: each may wait for a server that does not answer, and the next one's time is over as well.
                    threading.Thread(target=watched.cancel, name="cancelling", daemon=True).start()


_watchman = _Watchman()
_UNLIMITED = nullcontext()


def watch(connection: psycopg.Connection[Any]) -> AbstractContextManager[None]:
    """Cancel what the connection is doing when the time of this context is over; the driver raises QueryCanceled."""
    deadline = _deadline.get()
    return _UNLIMITED if deadline is None else _watched(connection, deadline)


@contextmanager
def _watched(connection: psycopg.Connection[Any], deadline: float) -> Generator[None]:
    watched = _Watched(connection, deadline)
    _watchman.add(watched)
    try:
        yield
    finally:
        _watchman.remove(watched)
