"""The whole system while it is shot at: every job ends exactly once, and what its handler did agrees with the log."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from statistics import quantiles
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis

from ledger import keys
from ledger.events import Kind, Leased
from tests.support.ring import Ring, running
from tests.support.working import PATIENCE, reached, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from uuid import UUID

    from ledger.events import Entry
    from ledger.runtime.embedded import EmbeddedRedis

pytestmark = pytest.mark.heavy


class Target:
    """A system with a load of jobs that write down every run."""

    def __init__(self, ring: Ring, notes: Path) -> None:
        self.ring = ring
        self.jobs: list[UUID] = []
        self._notes = notes

    def load(self, count: int, seconds: float) -> None:
        payload = {"path": str(self._notes), "seconds": seconds}
        self.jobs += self.ring.ledger.enqueue_many([{"type": "record", "payload": payload}] * count)

    def notes(self) -> list[list[str]]:
        """Every run so far, as its handler noted it: job, version of the lease, and process."""
        return [line.split() for line in self._notes.read_text().splitlines()] if self._notes.exists() else []

    def runs(self) -> list[tuple[str, int]]:
        return [(job, int(version)) for job, version, _ in self.notes()]

    def await_run_by(self, pid: int) -> None:
        """Wait for one that is still to come."""
        before = self._runs_by(pid)
        until(lambda: self._runs_by(pid) > before)

    def _runs_by(self, pid: int) -> int:
        return [process for _, _, process in self.notes()].count(str(pid))

    def await_runs(self, count: int, seconds: float = PATIENCE) -> None:
        until(lambda: len(self.runs()) >= count, seconds)

    def histories(self) -> dict[str, tuple[Entry, ...]]:
        found = self.ring.ledger.log.histories(self.jobs)
        return {str(job_id): tuple(found[job_id]) for job_id in self.jobs}

    def lost(self) -> set[str]:
        """Who closed leases of workers that were lost."""
        entries = [entry for history in self.histories().values() for entry in history]
        return {e.actor.partition(":")[0] for e in entries if getattr(e.event, "reason", None) == "lease_expired"}

    def survives(self) -> None:
        """Wait until every job has succeeded, and hold the log against what the handlers noted."""
        until(lambda: {job for job, _ in self.runs()} == set(map(str, self.jobs)))
        until(lambda: all(history[-1].kind is Kind.SUCCEEDED for history in self.histories().values()))
        histories, runs = self.histories(), self.runs()
        leases = {
            (job, e.version) for job, history in histories.items() for e in history if isinstance(e.event, Leased)
        }
        assert len(runs) == len(set(runs)), "a lease was run twice"
        assert set(runs) <= leases, "something was run without a lease"
        for job, history in histories.items():
            assert [entry.version for entry in history] == list(range(1, len(history) + 1))
            assert [entry.kind for entry in history].count(Kind.SUCCEEDED) == 1
            assert (job, history[-2].version) in set(runs), "it succeeded without a run"
        self.ring.command("verify")


@contextmanager
def target(database: str, redis_url: str, tmp_path: Path) -> Iterator[Target]:
    with running(database, redis_url) as ring:
        yield Target(ring, tmp_path / "runs")


def test_kill_9_of_a_child_and_of_a_whole_family(database: str, redis_url: str, tmp_path: Path) -> None:
    with target(database, redis_url, tmp_path) as shot:
        first, _ = (shot.ring.start_worker("--concurrency", "4", "--processes", "2") for _ in range(2))
        shot.load(400, seconds=0.05)
        until(lambda: len(first.family()) == 2)
        victim, other = first.family()
        shot.await_run_by(victim.pid)
        victim.kill()
        until(lambda: shot.lost() == {"worker"})  # its supervisor
        shot.load(400, seconds=0.05)
        shot.await_run_by(other.pid)
        first.kill()
        shot.survives()
        assert shot.lost() == {"worker", "scheduler"}


def test_t3_d13_redis_flushed_twice(database: str, private_redis: EmbeddedRedis, tmp_path: Path) -> None:
    with target(database, private_redis.url, tmp_path) as shot, redis.Redis.from_url(private_redis.url) as client:
        shot.ring.start_worker("--concurrency", "4")
        shot.load(300, seconds=0.02)
        for count in (50, 150):
            shot.await_runs(count)
            client.flushall()
            shot.load(10, seconds=0.0)
            until(lambda: client.exists(keys.MARKER))
        shot.survives()


def test_an_open_transaction_holds_up_nobody_else(database: str, redis_url: str, tmp_path: Path) -> None:
    with target(database, redis_url, tmp_path) as shot, psycopg.connect(database) as writer:
        shot.ring.start_worker()
        payload = {"path": str(tmp_path / "runs"), "seconds": 0.0}
        held = shot.ring.ledger.enqueue("record", payload, connection=writer)
        for _ in range(300):
            shot.load(1, seconds=0.0)
            shot.await_runs(len(shot.jobs), seconds=4)  # before the reconciler could do what dispatch has not done
        waits = [first_wait(history) for history in shot.histories().values()]
        assert shot.runs()
        assert str(held) not in {job for job, _ in shot.runs()}
        writer.commit()
        reached(shot.ring.ledger, held, "succeeded")
        shot.jobs.append(held)
        shot.survives()
    centiles = quantiles(waits[20:], n=100)  # the first ones meet a system that is still starting
    assert centiles[49] < timedelta(milliseconds=100), centiles
    assert centiles[94] < timedelta(milliseconds=500), centiles


def first_wait(history: tuple[Entry, ...]) -> timedelta:
    """How long the job was ready before it was leased."""
    return history[1].at - history[0].at
