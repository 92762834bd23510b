"""Testing applications without a server: their own `Ledger`, with a log in memory and a clock that stands still.

Inline: to enqueue a job is to run it. The payload goes through JSON and back as in life, and what came of the run is
decided by the same rules and recorded in the same events:

>>> from ledger import Ledger, testing
>>> ledger = Ledger()
>>> @ledger.job("email.send", queue="mail")
... def send_email(to: str) -> dict:
...     return {"sent": to}
>>> with testing.inline(ledger):
...     job_id = send_email.enqueue(to="a@b.c")
...     ledger.get(job_id).result
{'sent': 'a@b.c'}

Manual: jobs are kept, until `drain` runs what is ready. Retries and schedules become ready when the clock is advanced:

>>> with testing.manual(ledger) as kit:
...     _ = send_email.schedule(to="a@b.c", delay="1h")
...     waiting = kit.assert_enqueued("email.send", to="a@b.c", queue="mail")
...     early = kit.drain()
...     _ = kit.clock.advance("1h")
...     [waiting.state.value, early, [job.state.value for job in kit.drain()]]
['scheduled', [], ['succeeded']]

A crash in the worst place, to see whether a handler bears to run twice:

>>> with testing.manual(ledger) as kit, testing.crash_at("after_handler"):
...     _ = send_email.enqueue(to="a@b.c")
...     [job.attempt for job in kit.drain()]
[1, 2]

Within the block every verb of the ledger works: `enqueue_many`, idempotency keys, `get`, `history`, `cancel`, `retry`,
the await twins, and `notes` tells what handlers said. `connection=` is accepted and not used: the job counts at once,
whatever becomes of the transaction. Types without a handler here stay ready, as they would in life, and so do the jobs
of queues in `kit.paused`.

A run that takes longer than its time-out, or goes past its deadline, by the clock that stands still or really, is asked
to stop and fails with `JobTimeout` or `DeadlineExceeded`, as in life. Not imitated: processes of their own, so nothing
can kill a handler that does not return, and one that ends its process ends the test; several workers, and runs at the
same time.

An error of a handler is raised where its job was enqueued (inline), or recorded only (`drain`); `fail_fast=` chooses
otherwise. What a handler says on purpose by `Retry`, `Permanent` and their like is no error, and never raised.
"""

from __future__ import annotations

from ledger.testing.clock import FrozenClock
from ledger.testing.crash import POINTS, Crash, crash_at
from ledger.testing.kit import Kit, assert_enqueued, drain, enqueued, refute_enqueued
from ledger.testing.modes import inline, manual

__all__ = [
    "POINTS",
    "Crash",
    "FrozenClock",
    "Kit",
    "assert_enqueued",
    "crash_at",
    "drain",
    "enqueued",
    "inline",
    "manual",
    "refute_enqueued",
]
