"""The application that `ledger dev` runs when it is given none: one job type, enough to see a job from end to end."""

from __future__ import annotations

import threading

from ledger import Job, Ledger, Permanent

ledger = Ledger()


@ledger.job("example.hello")
def hello(job: Job, name: str = "world") -> dict[str, object]:
    """Greet somebody."""
    return {"greeting": f"Hello, {name}!", "attempt": job.attempt}


@ledger.job("example.sleep")
def rest(job: Job, seconds: float = 1.0, *, stubborn: bool = False) -> dict[str, object]:
    """Take time, so that a job can be seen running, cancelled, or interrupted; a stubborn one does not listen."""
    interrupted = threading.Event().wait(seconds) if stubborn else job.wait(seconds)
    return {"seconds": seconds, "interrupted": interrupted}


@ledger.job("example.fail", max_retries=2, retry={"base": "1s", "max": "5s"})
def fail(message: str = "as you asked", *, permanent: bool = False) -> None:
    """Fail, so that retries and dead letters can be seen."""
    if permanent:
        raise Permanent(message)
    raise RuntimeError(message)
