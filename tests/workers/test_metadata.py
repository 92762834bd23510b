"""A job's metadata is its user's, to the last key: the system keeps its own books elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger import Job, Permanent
from tests.support.working import Pump, working

if TYPE_CHECKING:
    from ledger import Ledger

METADATA = {"stream": "of consciousness", "message_id": "7-0", "retry_count": "many", "original_id": "x", "queue": "no"}


def test_d51_metadata_is_the_users_whatever_happens_to_the_job(ledger: Ledger) -> None:
    seen = []

    @ledger.job("t")
    def t(job: Job) -> None:
        seen.append(dict(job.metadata))
        if len(seen) == 1:
            raise ValueError("again")
        if len(seen) == 2:
            raise Permanent("no")

    job_id = ledger.enqueue("t", metadata=METADATA, retry={"base": "1ms", "max": "1ms"})
    with working(ledger):
        Pump(ledger, job_id).until("retrying")
        ledger.run_now(job_id)
        Pump(ledger, job_id).until("dead")
        assert ledger.get(job_id).request.metadata == METADATA
        ledger.retry(job_id)
        (job,) = Pump(ledger, job_id).until("succeeded")
    assert job.request.metadata == METADATA
    assert seen == [METADATA] * 3
    assert [e.event.request.metadata for e in ledger.history(job_id) if getattr(e.event, "request", None)] == [METADATA]
