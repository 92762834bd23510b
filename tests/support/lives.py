"""Jobs that live in a real log: each step is asked of the rules and appended, as a client, worker or operator would."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from ledger_projections.builtin import PROJECTIONS
from ledger_projections.engine import Engine

from ledger import commands, ids
from ledger.events import Failed, Priority, Request, Trace
from ledger.job import State, fold
from ledger.log import Append, Lease, Recorded, following
from ledger.postgres import PostgresLog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from ledger_projections.projection import Projection

    from ledger.events import EnqueueReason
    from ledger.job import JobState
    from ledger.runtime.database import Database

WORKER = "w1"
FAILURE = Failed("ValueError", "no such address", "Traceback …", 12.5)


class Lives:
    """One actor for everything, on one log. Steps raise AssertionError when the log refuses them."""

    def __init__(self, database: Database, seed: int = 1) -> None:
        self.log = PostgresLog(database)
        self.random = Random(seed)

    def enqueue(
        self,
        type_: str = "email.send",
        *,
        queue: str = "mail",
        priority: Priority = Priority.MEDIUM,
        delay: timedelta | None = None,
        correlation_id: str | None = None,
        **request,
    ) -> UUID:
        job_id = ids.mint()
        now = self.log.clock.now()
        wanted = Request(type=type_, scheduled_at=now + delay if delay else None, **request)
        self._append(
            Append(
                job_id=job_id,
                events=commands.submit(wanted, now),
                queue=queue,
                priority=priority,
                actor="client:test",
                trace=Trace(correlation_id=correlation_id),
            )
        )
        return job_id

    def job(self, job_id: UUID) -> JobState:
        job = fold(self.log.history(job_id))
        assert job is not None
        return job

    def lease(self, job_id: UUID, worker: str = WORKER) -> None:
        won = self.log.lease([Lease(job_id, self.job(job_id).version, f"nonce {ids.mint()}")], worker)
        assert len(won) == 1

    def succeed(self, job_id: UUID, duration_ms: float = 5.0, result: bytes | None = None) -> None:
        self._change(job_id, commands.succeed(self.job(job_id), duration_ms, result))

    def fail(self, job_id: UUID, *, permanent: bool = False) -> None:
        self._change(
            job_id, commands.fail(self.job(job_id), FAILURE, self.log.clock.now(), self.random, permanent=permanent)
        )

    def snooze(self, job_id: UUID) -> None:
        self._change(job_id, commands.snooze(self.job(job_id), self.log.clock.now() + timedelta(hours=1)))

    def release(self, job_id: UUID, reason: EnqueueReason = "shutdown") -> None:
        self._change(job_id, commands.release(self.job(job_id), reason))

    def crash(self, job_id: UUID) -> None:
        self._change(job_id, commands.crash(self.job(job_id), 3), actor="scheduler")

    def make_due(self, job_id: UUID) -> None:
        self._change(job_id, commands.make_due(self.job(job_id)), actor="scheduler")

    def cancel(self, job_id: UUID) -> None:
        self._change(job_id, commands.cancel(self.job(job_id)), actor="cli:test")

    def retry(self, job_id: UUID) -> None:
        self._change(job_id, commands.retry(self.job(job_id), self.log.clock.now()), actor="cli:test")

    def discard(self, job_id: UUID) -> None:
        self._change(job_id, commands.discard(self.job(job_id)), actor="cli:test")

    def step(self, job_id: UUID) -> bool:
        """Let something allowed happen to the job; False when it has ended."""
        job = self.job(job_id)
        if job.state.is_end:
            return False
        self.random.choice(_STEPS[job.state])(self, job_id)
        return True

    def die(self, job_id: UUID) -> None:
        """Run the job once, for good."""
        self.lease(job_id)
        self.fail(job_id, permanent=True)

    def run(self, job_id: UUID, duration_ms: float = 5.0) -> None:
        self.lease(job_id)
        self.succeed(job_id, duration_ms)

    def _change(self, job_id: UUID, events: commands.Events, actor: str = f"worker:{WORKER}") -> None:
        self._append(following(self.job(job_id), events, actor))

    def _append(self, append: Append) -> None:
        (outcome,) = self.log.append([append])
        assert isinstance(outcome, Recorded), outcome


_STEPS = {
    State.SCHEDULED: (Lives.make_due, Lives.make_due, Lives.cancel),
    State.READY: (Lives.lease,) * 6 + (Lives.cancel,),
    State.RUNNING: (Lives.succeed, Lives.succeed, Lives.fail, Lives.fail, Lives.snooze, Lives.release, Lives.crash),
    State.RETRYING: (Lives.make_due, Lives.make_due, Lives.cancel),
    State.DEAD: (Lives.retry, Lives.discard),
}


def fold_all(database: Database, projections: Sequence[Projection] = PROJECTIONS, batch_size: int = 1000) -> None:
    """Bring the live read models up to the end of the log."""
    for projection in projections:
        engine = Engine(database, projection, batch_size=batch_size)
        engine.prepare()
        while engine.run_once():
            pass
