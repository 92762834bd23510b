"""An application that says beside its handler when it runs."""

from __future__ import annotations

from ledger import Job, Ledger

ledger = Ledger()


@ledger.schedule("* * * * * *", name="tick", payload={"by": 2})
@ledger.job("count", max_retries=0)
def count(job: Job, by: int) -> int:
    return by
