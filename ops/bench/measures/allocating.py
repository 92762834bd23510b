"""How often the worker asks for memory, a job: in a drain, in the very process that runs the handlers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.bench import allocations

if TYPE_CHECKING:
    from ops.bench.session import Session
    from ops.bench.sizes import Sizes


def measure(session: Session, sizes: Sizes) -> dict[str, Any]:
    """Leave out the first half, in which the worker warms up."""
    if not allocations.is_possible():
        return {}
    half = max(sizes.drained // 2, 1)
    first = session.numbers(2 * half)
    session.produce("bulk", first, count=2 * half, chunk=sizes.chunk)
    session.await_caught_up()
    counter = allocations.Counter(
        Path(session.environment["BENCH_STAMPS"]) / allocations.FILE
    )  # the worker looks for it
    session.start_worker()
    session.await_started(first, half)
    left, before = session.started.missing(first, 2 * half), counter.count
    session.await_started(first, 2 * half)
    return {"worker_allocations_a_job": (counter.count - before) / max(left, 1)}
