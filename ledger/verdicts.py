"""What every runner of handlers has in common: what a handler is told, what surrounds it, and the verdict on its run.

Workers run jobs in threads and processes, the test modes in the test itself; both conclude by these functions, so what
a test sees is what happens in life.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ledger import outcomes
from ledger.commands import Events
from ledger.outcomes import NO_RULES, Ending, ErrorRules
from ledger.running import Job, Token

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ledger.handlers import Middleware
    from ledger.job import JobState

Verdict = Callable[[datetime], Events]
"""What is to be recorded of a run, once the time is known."""

_RANDOM = random.Random()  # noqa: S311 — spreads retries


def job_of(state: JobState, worker_id: str, traceparent: str | None) -> Job:
    """Return what a handler is told of the job leased to this worker."""
    request = state.request
    return Job(
        id=state.id,
        type=request.type,
        body=request.payload,
        queue=state.queue,
        priority=state.priority.word,
        attempt=state.attempt,
        retry_count=state.retry_count,
        max_retries=request.max_retries,
        timeout=_span(request.timeout_seconds),
        metadata=request.metadata,
        token=Token(state.id, state.lease_version),
        correlation_id=state.correlation_id or str(state.id),
        worker_id=worker_id,
        traceparent=traceparent,
        deadline=request.deadline,
        payload_version=request.payload_version,
    )


def chain(middleware: Iterable[Middleware], innermost: Callable[[Job], Any]) -> Callable[[Job], Any]:
    """Return one call that goes through all of them, the first being outermost."""
    call = innermost
    for layer in reversed(list(middleware)):
        call = _link(layer, call)
    return call


def returned(state: JobState, value: Any, duration_ms: float) -> Verdict:
    """Return the verdict on a run that returned; a value that cannot be kept fails the job for good.

    The value is written down here and now, in the thread that made it: it is the user's, and who records the verdict
    does so for others as well.
    """
    return concluded(state, outcomes.ending_of_value(value), duration_ms)


def failed(
    state: JobState, error: BaseException, stack: str, duration_ms: float, rules: ErrorRules = NO_RULES
) -> Verdict:
    """Return the verdict on a run that raised; what the error says is asked here and now, as with a value."""
    return concluded(state, outcomes.ending_of_error(error, stack, rules), duration_ms)


def concluded(state: JobState, ending: Ending, duration_ms: float) -> Verdict:
    """Return the verdict on a run that ended so."""
    return lambda now: ending.events(state, duration_ms, now, _RANDOM)


@lru_cache(maxsize=256)
def _span(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def _link(layer: Middleware, call_next: Callable[[Job], Any]) -> Callable[[Job], Any]:
    return lambda job: layer(job, call_next)
