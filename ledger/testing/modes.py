"""The two test modes: for the length of a block, a ledger's doors lead to a log in memory.

What wakes the dispatchers in life, makes the jobs run at once in inline mode, and does nothing in manual mode.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ledger.aio import Threads
from ledger.memory import MemoryLog
from ledger.testing.clock import FrozenClock
from ledger.testing.kit import Kit, active
from ledger.testing.runner import Runner
from ledger.testing.store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Generator

    from ledger.client import Ledger

_DEPTH = 1000
"""Threads for the await twins: an inline job's handler may enqueue another one inline, and so on."""


class _AtOnce:
    """Runs whatever is ready when the dispatchers would be woken."""

    def __init__(self, kit: Kit, *, fail_fast: bool) -> None:
        self._kit = kit
        self._fail_fast = fail_fast

    def wake(self, *_: object) -> None:
        self._kit.drain(fail_fast=self._fail_fast)

    ready = wake


class _Never:
    def wake(self, *_: object) -> None:
        """Leave it to `drain`."""

    ready = wake


@contextmanager
def inline(ledger: Ledger, *, clock: FrozenClock | None = None, fail_fast: bool = True) -> Generator[Kit]:
    """Within the block a job runs when it is enqueued, before the call returns, and what it enqueues runs inside it.

    With `fail_fast` an error of the handler is raised by the call, once its outcome is on record; of several the first.
    A retry or a scheduled job waits: advance the clock and `drain`.
    """
    kit = _kit(ledger, clock)
    with _on(kit, _AtOnce(kit, fail_fast=fail_fast)):
        yield kit


@contextmanager
def manual(ledger: Ledger, *, clock: FrozenClock | None = None) -> Generator[Kit]:
    """Within the block jobs are only put on record; `drain` of the kit runs them."""
    kit = _kit(ledger, clock)
    with _on(kit, _Never()):
        yield kit


def _kit(ledger: Ledger, clock: FrozenClock | None) -> Kit:
    clock = clock or FrozenClock()
    log = MemoryLog(clock)
    return Kit(ledger, log, clock, Runner(ledger, log, clock))


@contextmanager
def _on(kit: Kit, waker: _AtOnce | _Never) -> Generator[None]:
    ledger = kit.ledger
    ours = ledger.store, ledger.threads
    ledger.store = MemoryStore(kit.log, lambda: ledger.settings.job_idempotency_ttl, kit.runner)
    ledger.threads = Threads(lambda: _DEPTH)
    active.append(kit)
    try:
        with ledger.replaced(kit.log, waker):
            yield
    finally:
        active.remove(kit)
        ledger.store, ledger.threads = ours
