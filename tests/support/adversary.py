"""Writers that do to the log whatever a transaction may do, and readers whose deliveries are kept.

Positions are drawn in one order and committed in another: transactions of many statements and jobs overlap, pause,
commit late, roll back, die by SIGKILL in the middle; one stays open from the first event to the last. Jobs go from
writer to writer, so their histories cross transactions.

Run as a module it is the process that gets killed.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import psycopg
from ledger_projections.engine import Engine
from ledger_projections.projection import Projection

from ledger.ids import mint
from ledger.postgres import append_on
from ledger.runtime.database import Database
from tests.support.histories import first

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

ROOT = Path(__file__).parents[2]
LIMIT = 60.0
"""Seconds within which the last hole must be gone."""

DELIVERIES = Projection(
    name="deliveries",
    version=1,
    tables=("deliveries",),
    create=b"create table deliveries (turn bigint, position bigint, job_id uuid, version int, late boolean)",
    fold=b"""
    deliveries_made as (
      insert into deliveries
      select
        pg_current_xact_id()::text::bigint, e.position, e.job_id, e.version, e.position = any (%(late)s::bigint[])
      from batch e
    )
    """,
)
"""Every delivery of every event. Turns are one after another, so their xids rise."""

WRITE = """
insert into ledger.events (job_id, version, kind, queue, priority, actor)
select job.id, job.version + step, 'scheduled', 'adversary', 2, 'test'
from unnest(%s::uuid[], %s::int[]) as job (id, version)
cross join generate_series(1, %s) as step
"""

LOST = """
select count(*) from ledger.events e where not exists (
  select from ledger_read.deliveries d where d.position = e.position
)
"""
PHANTOM = """
select count(*) from ledger_read.deliveries d where not exists (
  select from ledger.events e where (e.job_id, e.version, e.position) = (d.job_id, d.version, d.position)
)
"""
DOUBLE = "select count(*) - count(distinct position) from ledger_read.deliveries"
DISORDERED = """
select count(*) from (
  select version, row_number() over (partition by job_id order by turn, version) as place from ledger_read.deliveries
) as deliveries
where version <> place
"""
LATE = "select count(*) filter (where late) from ledger_read.deliveries"
DELIVERED = "select count(*) from ledger_read.deliveries"
COMMITTED = "select count(*) from ledger.events"
POSITIONS_AFTER = "select position from ledger.events where position > %s order by position limit 5000"
HOLES = """
select coalesce(sum(upper(hole) - lower(hole)), 0)::bigint
from ledger.cursors c, unnest(array[c.old_holes, c.young_holes]) as holes, unnest(holes) as hole
where c.projection = 'deliveries'
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How hard to try."""

    events: int
    writers: int
    jobs: tuple[int, int]
    """Fewest and most jobs of one transaction."""
    kills: int
    batch_size: int
    seed: int = 20261124
    rollback: float = 0.15


@dataclass
class Report:
    """What the adversary did, and what the readers made of it."""

    done: Counter[str] = field(default_factory=Counter)
    committed: int = 0
    delivered_while_open: int = 0
    committed_while_open: int = 0
    holes_while_open: int = 0
    holes_left: int = 0
    late: int = 0
    lost: int = 0
    phantom: int = 0
    double: int = 0
    disordered: int = 0
    naively_lost: int = 0


class Writers:
    """Threads that append until enough is committed."""

    def __init__(self, url: str, plan: Plan) -> None:
        self.done: Counter[str] = Counter()
        self._url = url
        self._plan = plan
        self._lock = threading.Lock()
        self._open = 0
        self._jobs: list[tuple[UUID, int]] = []
        self._never = threading.Event()

    def run(self) -> None:
        with ThreadPoolExecutor(self._plan.writers) as pool:
            for outcome in [pool.submit(self._write, Random(self._plan.seed + n)) for n in range(self._plan.writers)]:
                outcome.result()

    def _write(self, random: Random) -> None:
        with psycopg.connect(self._url) as connection:
            while self.done["events"] < self._plan.events:
                self._transaction(connection, random)

    def _transaction(self, connection: psycopg.Connection, random: Random) -> None:
        jobs = self._take(random)
        with self._overlapping():
            grown = self._append(connection, random, jobs)
            if random.random() < 0.04:
                self._pause(random.uniform(0.05, 0.3), "slow commits")
            if random.random() < self._plan.rollback:
                connection.rollback()
                self._settle(jobs, "rollbacks", 0)
            else:
                connection.commit()
                self._settle(grown, "commits", grown[0][1] - jobs[0][1])

    def _append(self, connection: psycopg.Connection, random: Random, jobs: list[tuple[UUID, int]]):
        for _ in range(random.randint(1, 4)):
            steps = random.randint(1, 3)
            connection.execute(WRITE, [[job_id for job_id, _ in jobs], [version for _, version in jobs], steps])
            jobs = [(job_id, version + steps) for job_id, version in jobs]
            if random.random() < 0.3:
                self._pause(random.uniform(0, 0.004), "pauses")
        if random.random() < 0.1:
            append_on(connection, [first(mint()) for _ in range(3)])
        return jobs

    def _take(self, random: Random) -> list[tuple[UUID, int]]:
        """Take jobs that another writer has left, and some new ones."""
        wanted = random.randint(*self._plan.jobs)
        with self._lock:
            old, self._jobs = self._jobs[: wanted // 2], self._jobs[wanted // 2 :]
            self.done["handed over"] += len(old)
        return old + [(mint(), 0) for _ in range(wanted - len(old))]

    def _settle(self, jobs: list[tuple[UUID, int]], outcome: str, steps: int) -> None:
        with self._lock:
            self._jobs += [(job_id, version) for job_id, version in jobs if 0 < version < 40]
            self.done[outcome] += 1
            self.done["events"] += steps * len(jobs)

    @contextmanager
    def _overlapping(self) -> Iterator[None]:
        with self._lock:
            self._open += 1
            self.done["overlaps"] += self._open > 1
        try:
            yield
        finally:
            with self._lock:
                self._open -= 1

    def _pause(self, seconds: float, kind: str) -> None:
        self._never.wait(seconds)
        with self._lock:
            self.done[kind] += 1


class Naive:
    """The reader everybody writes first: it remembers a position, and loses what is committed below it."""

    def __init__(self, url: str) -> None:
        self.seen: set[int] = set()
        self._connection = psycopg.connect(url, autocommit=True)
        self._last = 0

    def read(self) -> bool:
        rows = self._connection.execute(POSITIONS_AFTER, [self._last]).fetchall()
        self.seen.update(position for (position,) in rows)
        self._last = rows[-1][0] if rows else self._last
        return bool(rows)

    def close(self) -> None:
        self._connection.close()


def attack(url: str, plan: Plan) -> Report:
    """Let the writers loose on an empty log with two projectors and a naive reader on it, and report."""
    report, naive, database = Report(), Naive(url), Database(url, size=3)
    engines = [Engine(database, DELIVERIES, batch_size=plan.batch_size) for _ in range(2)]
    engines[0].prepare()
    with psycopg.connect(url, autocommit=True) as observer, psycopg.connect(url) as patient:
        append_on(patient, [first(mint())])
        report.done = _write_and_read(url, plan, [naive.read, *(engine.run_once for engine in engines)])
        _drain(engines[0])
        report.committed_while_open, report.delivered_while_open = _one(observer, COMMITTED), _one(observer, DELIVERED)
        report.holes_while_open = _one(observer, HOLES)
        patient.commit()
        _drain(engines[0])
        _until_forgotten(engines[0], observer)
        while naive.read():
            pass
        _judge(observer, report, naive)
    naive.close()
    database.close()
    return report


def _write_and_read(url: str, plan: Plan, reads: list[Callable[[], bool]]) -> Counter[str]:
    """Turn the readers in threads of their own until the writers have done and been killed enough."""
    writers, stop = Writers(url, plan), threading.Event()
    with ThreadPoolExecutor(len(reads) + 1) as pool:
        reading = [pool.submit(_turn, read, stop) for read in reads]
        try:
            killing = pool.submit(_kill, url, plan.kills)
            writers.run()
            return writers.done + Counter(kills=killing.result())
        finally:
            stop.set()
            for reader in reading:
                reader.result()


def _drain(engine: Engine) -> None:
    """Read to the end of what is committed; nobody else reads any more."""
    while engine.run_once():
        pass


def _until_forgotten(engine: Engine, observer: psycopg.Connection) -> None:
    """Turn until no hole is left, which waits for whatever transaction is open in any database of the server."""
    waiting, deadline = threading.Event(), time.monotonic() + LIMIT
    while _one(observer, HOLES) and time.monotonic() < deadline:
        engine.run_once()
        waiting.wait(0.01)


def _judge(observer: psycopg.Connection, report: Report, naive: Naive) -> None:
    report.committed = _one(observer, COMMITTED)
    report.late = _one(observer, LATE)
    report.lost, report.phantom = _one(observer, LOST), _one(observer, PHANTOM)
    report.double, report.disordered = _one(observer, DOUBLE), _one(observer, DISORDERED)
    report.holes_left = _one(observer, HOLES)
    report.naively_lost = report.committed - len(naive.seen)


def _turn(read: Callable[[], bool], stop: threading.Event) -> None:
    while not stop.is_set():
        if not read():
            stop.wait(0.002)


def _kill(url: str, times: int) -> int:
    for _ in range(times):
        command = [sys.executable, "-m", "tests.support.adversary", url]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "in the middle\n"
            writer.kill()
    return times


def _one(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def _die(url: str) -> None:
    """Commit something, begin something larger, say so, and go on until killed."""
    ids = sorted(mint() for _ in range(20))
    with psycopg.connect(url) as connection:
        connection.execute(WRITE, [ids, [0] * 20, 2])
        connection.commit()
        for version in range(2, 10_000):
            connection.execute(WRITE, [ids, [version] * 20, 1])
            if version == 4:
                print("in the middle", flush=True)


if __name__ == "__main__":
    _die(sys.argv[1])
