"""Ten thousand jobs that only a read model still calls due, or messages of jobs that are gone, are in nobody's way."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import redis
from ledger_scheduler.due import Due

from ledger import commands, ids, keys
from ledger.events import Kind, Priority, Request, Scheduled
from ledger.job import State, fold
from ledger.log import Append, following
from ledger.message import Message
from tests.support.working import ended, ledger_on, send, until, working

if TYPE_CHECKING:
    from uuid import UUID

    from ledger import Ledger
    from ledger.log import Log
    from tests.support.scheduling import Stage

MANY = 10_000


def cancel_all(log: Log, jobs: list[UUID]) -> None:
    histories = log.histories(jobs)
    states = [state for job in jobs if (state := fold(histories[job])) is not None]
    log.append([following(state, commands.cancel(state), "cli:test") for state in states])


def test_t12_d23_due_jobs_pass_ten_thousand_that_are_cancelled_already(stage: Stage) -> None:
    run_at = stage.log.clock.now() - timedelta(hours=1)

    def due(count: int, at: timedelta = timedelta()) -> list[UUID]:
        made = [ids.mint() for _ in range(count)]
        event = Scheduled(run_at=run_at + at, request=Request(type="t", scheduled_at=run_at + at))
        stage.log.append([
            Append(job_id=job, events=(event,), queue="q", priority=Priority.LOW, actor="client:test") for job in made
        ])  # fmt: skip
        return made

    gone = due(MANY)
    (last,) = due(1, timedelta(minutes=1))
    stage.fold()
    cancel_all(stage.log, gone)  # of which the read model has not heard
    service = Due(stage.database, stage.bell, batch_size=1000)
    turns = 1
    while service.run_once():
        turns += 1
    assert stage.kinds(last) == [Kind.SCHEDULED, Kind.ENQUEUED]
    assert (service.enqueued, turns) == (1, MANY // 1000 + 1)


def test_t12_d15_d16_a_job_passes_ten_thousand_messages_of_cancelled_jobs_half_of_them_pending_at_a_dead_worker(
    database: str, redis_url: str
) -> None:
    quick = {"SCHEDULER_STALE_JOB_TIMEOUT": "1s", "WORKER_HEARTBEAT_INTERVAL": "300ms"}
    with ledger_on(database, redis_url, **quick) as ledger, redis.Redis.from_url(redis_url) as client:

        @ledger.job("t")
        def t() -> str:
            return "done"

        stream = orphan(ledger, client)
        with working(ledger):
            assert ended(ledger, send(ledger, "t")).result == "done"
            until(lambda: client.xlen(stream) == 0)
            assert client.xpending(stream, keys.GROUP)["pending"] == 0
            assert [each["name"] for each in client.xinfo_consumers(stream, keys.GROUP)] in ([], [b"w-1"])
            until(lambda: client.xlen(stream) == 0)
            assert ended(ledger, send(ledger, "t")).state is State.SUCCEEDED


def orphan(ledger: Ledger, client: redis.Redis) -> str:
    """Leave messages of cancelled jobs on a stream, half of them delivered to a worker that is no more."""
    jobs = ledger.enqueue_many([{"type": "t"}] * MANY)
    stream = keys.stream("default", Priority.MEDIUM)
    with client.pipeline(transaction=False) as pipe:
        for job in jobs:
            pipe.xadd(stream, Message(job, 1, 1, "t").fields())
        pipe.execute()
    cancel_all(ledger.log, jobs)
    client.xgroup_create(stream, keys.GROUP, "0")
    client.xreadgroup(keys.GROUP, "dead", {stream: ">"}, count=MANY // 2)
    return stream
