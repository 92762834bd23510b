"""What the tests of the testing kit register, and what they ask of its jobs."""

from __future__ import annotations

NOON = "2026-03-01T12:00:00Z"


class Flaky:
    """A handler that fails so many times, and then does not."""

    def __init__(self, failures: int, error: type[BaseException] = ValueError) -> None:
        self.failures, self.error, self.runs = failures, error, 0

    def __call__(self) -> str:
        self.runs += 1
        if self.runs <= self.failures:
            raise self.error("not yet")
        return "done"


def kinds(ledger, job_id) -> list[str]:
    return [entry.kind.value for entry in ledger.history(job_id)]


def states(jobs) -> list[str]:
    return [job.state.value for job in jobs]


def register(ledger, type_, function, **options):
    """Register a callable that is no function of its own."""

    @ledger.job(type_, **options)
    def handler():
        return function()

    return handler
