"""Crashes on demand: a worker that dies at a named place, so that users can test their own idempotency."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ledger.runtime import failpoints

if TYPE_CHECKING:
    from collections.abc import Generator

POINTS = ("after_lease", "before_handler", "after_handler", "before_append", "after_append")
"""The places in the order in which a run passes them. The outcome is on record between the last two.

An application may have more in its own handlers: `ledger.runtime.failpoints.hit("half way")`.
"""


class Crash(BaseException):
    """The worker died here. No `except Exception` of a handler catches it, as none survives `kill -9`."""


@contextmanager
def crash_at(point: str, *, times: int = 1) -> Generator[None]:
    """Within the block the worker dies the first `times` times that a run passes this point.

    The lease is then released and the crash counted, as the scheduler does in life: the job runs again, until
    JOB_MAX_CRASHES make it poison. Raises AssertionError at the end if no run came by, for then nothing was tested.
    """
    crashes = 0

    def crash() -> None:
        nonlocal crashes
        if crashes < times:
            crashes += 1
            raise Crash(point)

    with failpoints.armed(point, crash):
        yield
    if not crashes:
        raise AssertionError(f"no run passed {point!r}; every run passes {', '.join(POINTS)}")
