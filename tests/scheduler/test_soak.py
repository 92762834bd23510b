"""Week after week of jobs that run, fail, die and end: nothing that is kept of them grows with their number.

The original kept keys, pending entries, consumers and rows for ever.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import pytest
import redis
from ledger_projections.dispatch import Dispatcher
from ledger_scheduler.metrics import Meters
from ledger_scheduler.retention import Retention

from ledger import Job, ids
from ledger.events import Enqueued, Request
from ledger.job import State
from ledger.runtime.database import Database
from tests.support.dispatching import drain
from tests.support.histories import first
from tests.support.lives import fold_all
from tests.support.working import ledger_on, until, working

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from ledger import Ledger
    from ledger.runtime.embedded import EmbeddedRedis

pytestmark = pytest.mark.heavy

WEEKS = 6
JOBS = 200
AGO = timedelta(weeks=5)


class Kept(NamedTuple):
    """What a system holds on to."""

    rows: dict[str, int]
    streams: int
    pending: int
    consumers: int
    memory: int


class Soak:
    """A system that lives through weeks in seconds: its jobs are born weeks ago, and then their events are aged."""

    def __init__(self, ledger: Ledger, pool: Database, dispatcher: Dispatcher, client: redis.Redis) -> None:
        self.ledger, self.pool, self.dispatcher, self.client = ledger, pool, dispatcher, client
        self.retention = Retention(pool, timedelta(hours=24), Meters())

    def week(self, worker: str) -> None:
        jobs = self.born()
        drain(self.dispatcher)
        with working(self.ledger, worker):
            until(lambda: self.states(jobs) == {State.SUCCEEDED, State.DEAD})
        for job_id, job in ((job_id, self.ledger.get(job_id)) for job_id in jobs):
            if job.state is State.DEAD:
                self.ledger.discard(job_id)
        self.age()
        fold_all(self.pool)
        drain(self.dispatcher)
        while self.retention.run_once():
            pass
        assert not any(self.ledger.log.histories(jobs).values())

    def born(self) -> list[UUID]:
        """Enqueue jobs five weeks ago, every fifth of which will die."""
        at = self.ledger.log.clock.now() - AGO
        self._execute("select ledger.ensure_partition(%s)", at)
        jobs = [ids.derive(ids.mint(), at) for _ in range(JOBS)]
        kinds = [Enqueued(request=Request(type=type_, max_retries=0)) for type_ in ("good", "bad")]
        self.ledger.log.append([first(job, kinds[n % 5 == 0], queue="default") for n, job in enumerate(jobs)])
        return jobs

    def states(self, jobs: list[UUID]) -> set[State]:
        return {self.ledger.get(job).state for job in jobs}

    def age(self) -> None:
        """Make every event as old as its job; only an owner who turns the triggers off can."""
        with self.pool.connection() as connection, connection.transaction():
            connection.execute("set local session_replication_role = replica")
            connection.execute("update ledger.events set at = at - %s", [AGO])

    def kept(self) -> Kept:
        tables = self._execute(
            "select schemaname || '.' || tablename from pg_tables"
            " where schemaname in ('ledger', 'ledger_read') and tablename !~ '^events_'"
        )
        rows = {table: self._execute(f"select count(*) from {table}")[0][0] for (table,) in tables}
        streams = list(self.client.scan_iter(_type="stream"))
        groups = [group for stream in streams for group in self.client.xinfo_groups(stream)]
        return Kept(
            {table: count for table, count in rows.items() if count},
            sum(self.client.xlen(stream) for stream in streams),
            sum(group["pending"] for group in groups),
            sum(group["consumers"] for group in groups),
            self.client.info("memory")["used_memory"],
        )

    def _execute(self, statement: str, *parameters: object) -> list[tuple]:
        with self.pool.connection() as connection:
            return connection.execute(statement, parameters).fetchall()


@contextmanager
def soaking(database: str, redis_url: str) -> Iterator[Soak]:
    pool = Database(database)
    dispatcher = Dispatcher(pool, redis_url)
    dispatcher.prepare()
    with ledger_on(database, redis_url) as ledger, redis.Redis.from_url(redis_url) as client:

        @ledger.job("good")
        def good(job: Job) -> str:
            job.log("a note")
            return "done"

        @ledger.job("bad")
        def bad() -> None:
            raise ValueError("bad")

        yield Soak(ledger, pool, dispatcher, client)
    dispatcher.close()
    pool.close()


def test_t19_d32_nothing_that_is_kept_grows_from_week_to_week(database: str, private_redis: EmbeddedRedis) -> None:
    with soaking(database, private_redis.url) as soak:
        kept = []
        for week in range(WEEKS):
            soak.week(f"w-{week}")
            kept.append(soak.kept())
    settled, last = kept[1], kept[-1]
    assert (last.streams, last.pending, last.consumers) == (0, 0, 0)
    assert last.rows == settled.rows
    assert not last.rows.keys() & {"ledger.events", "ledger_read.jobs", "ledger_read.attempts", "ledger.notes"}
    assert last.memory < settled.memory + 200_000
