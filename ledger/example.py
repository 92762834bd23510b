"""The application that `ledger dev` runs when it is given none: one job type, enough to see a job from end to end."""

from __future__ import annotations

import threading

from ledger.client import Ledger
from ledger.handlers import Job
from ledger.outcomes import Permanent

ledger = Ledger()


@ledger.job("example.hello")
def hello(job: Job, name: str = "world") -> dict[str, object]:
    """Greet somebody."""
    return {"greeting": f"Hello, {name}!", "attempt": job.attempt}


@ledger.job("example.sleep")
def rest(job: Job, seconds: float = 1.0) -> dict[str, float]:
    """Take time, so that a job can be seen running, cancelled, or interrupted by a crash."""
    waited = threading.Event()
    for _ in range(int(seconds * 10)):
        if job.cancelled:
            break
        waited.wait(0.1)
    return {"slept": seconds}


@ledger.job("example.fail", max_retries=2, retry={"base": "1s", "max": "5s"})
def fail(message: str = "as you asked", *, permanent: bool = False) -> None:
    """Fail, so that retries and dead letters can be seen."""
    if permanent:
        raise Permanent(message)
    raise RuntimeError(message)
