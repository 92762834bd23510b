"""Fail points: named places where a test may make the process die, fail or wait. Inert unless armed.

The product calls `hit` where a crash would be most awkward. A test of this process arms a point with an action; a test
of a child process names points in `LEDGER_FAILPOINTS` (`dispatch_after_xadd` or `after_lease,after_append`), and the
child is killed there as by `kill -9`.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Action = Callable[[], object]

VARIABLE = "LEDGER_FAILPOINTS"


def hit(point: str) -> None:
    """Pass this place: nothing happens unless a test has armed it."""
    if _armed and (action := _armed.get(point)) is not None:
        action()


@contextmanager
def armed(point: str, action: Action) -> Generator[None]:
    """Within the block every pass of `point`, in any thread, runs `action`; what it raises is raised there."""
    _armed[point] = action
    try:
        yield
    finally:
        del _armed[point]


def die() -> None:
    """End this process as `kill -9` does: nothing is flushed, nothing is said."""
    os.kill(os.getpid(), signal.SIGKILL)


def _from_environment() -> dict[str, Action]:
    return {point.strip(): die for point in os.environ.get(VARIABLE, "").split(",") if point.strip()}


_armed = _from_environment()
