"""Logging: one line a start and a success at debug, one a failure at info; never a payload."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import structlog

from ledger.outcomes import Retry, said_of, wish_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.handlers import Job

_DEBUG = 10


class Logging:
    """Says what became of each run, with everything needed to find it again."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()
        # Asked once: to build a line that nobody sees, for each of thousands of jobs a second, would cost the most.
        self._chatty = self._log.is_enabled_for(_DEBUG)

    def __call__(self, job: Job, call_next: Callable[[Job], Any]) -> Any:
        if self._chatty:
            self._log.debug("started", **_facts(job))
        began = time.monotonic()
        try:
            result = call_next(job)
        except BaseException as error:
            self._failed(job, error, began)
            raise
        if self._chatty:
            self._log.debug(said_of(result), **_facts(job), duration_ms=_since(began))
        return result

    def _failed(self, job: Job, error: BaseException, began: float) -> None:
        wish = wish_of(error, job.rules)
        permanent = wish is not None and not isinstance(wish, Retry)
        self._log.info(
            "failed",
            **_facts(job),
            duration_ms=_since(began),
            error_type=type(error).__name__,
            will_retry=job.retry_count < job.max_retries and not permanent,
        )


def _facts(job: Job) -> dict[str, Any]:
    return {
        "job_id": str(job.id),
        "type": job.type,
        "queue": job.queue,
        "priority": job.priority,
        "attempt": job.attempt,
        "lease_version": job.token.lease_version,
        "worker_id": job.worker_id,
    }


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 3)
