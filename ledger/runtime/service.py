"""The only loop: every service of the system is a `run_once`, turned here until it is told to stop.

The loop waits between turns (shorter after work, longer when idle, at once when woken), survives servers that go away
(one line in the log when they go, one when they are back), and knows when its next turn is due, for the liveness probe.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, Protocol

import structlog

from ledger.errors import Unavailable
from ledger.runtime import database, redis

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from datetime import timedelta

log = structlog.get_logger()

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0

_LAZIER = 1.02
"""By how much a long wait grows from turn to turn: about a fiftieth of the time for which nothing has happened."""

STILL_LIMIT = 30.0
"""Seconds that a turn may be late, or take, before the process no longer counts as alive."""

TO_END = 5.0
"""Seconds that all loops together have to end their turns: ten are what containers and `ledger dev` give a process."""

_turning: ContextVar[Loop | None] = ContextVar("turning", default=None)


class Service(Protocol):
    """One role, one turn at a time; tests turn it by hand."""

    name: str

    def run_once(self) -> bool:
        """Do one piece of work and say whether there may be more right now. May raise Unavailable."""
        ...


class Loop:
    """Turns a service until `stop` is set; waits `shortest` after an idle turn, doubling up to `longest`.

    Where nothing happens for many turns, the wait goes on to grow, slowly, up to `laziest`.
    `until_next` says, after an idle turn, in how many seconds there will be something to do: no wait is longer.
    """

    def __init__(
        self,
        service: Service,
        stop: threading.Event,
        *,
        shortest: timedelta,
        longest: timedelta,
        laziest: timedelta | None = None,
        until_next: Callable[[], float] = lambda: inf,
    ) -> None:
        self.service = service
        self._until_next = until_next
        self._stop = stop
        self._shortest = shortest.total_seconds()
        self._longest = longest.total_seconds()
        self._laziest = (laziest or longest).total_seconds()
        self._pause = self._shortest
        self._wake = threading.Event()
        self._turned = self._due = time.monotonic()
        self._excused = False

    @property
    def seconds_since_turn(self) -> float:
        """How long ago the loop last turned."""
        return time.monotonic() - self._turned

    @property
    def seconds_late(self) -> float:
        """How long ago the loop should have turned, or began the turn it is in: one that is up but stands still is not
        alive. 0 while it waits as long as it means to, or is in a turn that said it would be long.
        """
        return 0.0 if self._excused else max(time.monotonic() - self._due, 0.0)

    def wake(self) -> None:
        """Look now, and often from then on: something has happened, and more may come of it."""
        self._pause = self._shortest
        self._wake.set()

    def rouse(self) -> None:
        """Look now."""
        self._wake.set()

    def halt(self) -> None:
        self._stop.set()
        self._wake.set()

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=self.run, name=self.service.name, daemon=True)
        thread.start()
        return thread

    def run(self) -> None:
        """Turn until told to stop; never raises."""
        down = 0.0
        _turning.set(self)  # seen in the thread of this loop only
        while True:
            self._wake.clear()
            if self._stop.is_set():  # looked at after the clearing, which may have swallowed the call that came with it
                return
            self._turned = self._due = time.monotonic()
            try:
                busy = self.service.run_once()
            except (Unavailable, *database.TRANSIENT, *redis.TRANSIENT) as error:
                if not down:
                    log.warning("unavailable", service=self.service.name, error=str(error))
                down = min(max(down * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
                self._due = time.monotonic() + down
                self._stop.wait(down * random.uniform(0.5, 1.0))  # noqa: S311 — jitter, not a secret
                continue
            except Exception:
                # The boundary of a service: a bug must be seen, and must not end the others or spin.
                log.exception("turn failed", service=self.service.name)
                self._stop.wait(1.0)
                continue
            if down:
                log.info("available again", service=self.service.name)
                down = 0.0
            if busy:
                self._pause = self._shortest
                continue
            wait = min(self._pause, self._until_next())
            self._due = time.monotonic() + wait
            if not self._wake.wait(wait):
                self._pause = self._longer(self._pause)

    def _longer(self, pause: float) -> float:
        return min(pause * 2, self._longest) if pause < self._longest else min(pause * _LAZIER, self._laziest)

    @contextmanager
    def excused(self) -> Generator[None]:
        self._excused = True
        try:
            yield
        finally:
            self._due = time.monotonic()
            self._excused = False


@contextmanager
def long_turn() -> Generator[None]:
    """Say, inside a turn, that what follows may take as long as it takes: a rebuild, a refill."""
    loop = _turning.get()
    if loop is None:
        yield
        return
    with loop.excused():
        yield


def standing_still(loops: Iterable[Loop]) -> str | None:
    """Name the loops that should have turned long ago; None where all are alive."""
    late = [f"{loop.service.name} for {loop.seconds_late:.0f} s" for loop in loops if loop.seconds_late > STILL_LIMIT]
    return f"not turned: {', '.join(late)}" if late else None


def run_until_signalled(loops: list[Loop], stop: threading.Event) -> bool:
    """Start the loops, wait until `stop` is set, and let each finish the turn it is in; False where one could not.

    A turn that waits for a server that hangs, or for somebody's lock, is left behind, as a crash would leave it.
    """
    threads = [loop.start() for loop in loops]
    stop.wait()
    for loop in loops:
        loop.halt()
    end = time.monotonic() + TO_END
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0.0))
    if left := [thread.name for thread in threads if thread.is_alive()]:
        log.warning("turns left unfinished", services=left)
    return not left
