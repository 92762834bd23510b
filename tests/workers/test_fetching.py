"""From message to lease: what may be leased, what is put back, and where work comes from without Redis."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import redis
from ledger_projections.builtin import PROJECTIONS
from ledger_projections.engine import Engine
from ledger_workers import fetcher
from ledger_workers.leases import Leases, Run
from ledger_workers.metrics import Meters
from ledger_workers.ready import Ready
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from ledger import commands, keys
from ledger.events import Kind, Priority
from ledger.message import Message
from ledger.runtime.database import Database
from tests.support.working import depth, dispatch, ended, kinds, ledger_on, send, until, working

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

    from ledger import Ledger
    from ledger.runtime.embedded import EmbeddedRedis


def test_t6_d16_d20_duplicate_stale_and_forged_messages_make_one_run(ledger: Ledger) -> None:
    runs = []

    @ledger.job("once")
    def once() -> None:
        runs.append(1)

    job_id = ledger.enqueue("once")
    cancelled = ledger.enqueue("once")
    dispatch(ledger, cancelled)
    ledger.cancel(cancelled)
    for version in (1, 1, 1):
        dispatch(ledger, job_id, version)
    with working(ledger), working(ledger, "w-2"):
        ended(ledger, job_id)
        for version in (1, 2, 7, 3, 1):
            dispatch(ledger, job_id, version)
        until(lambda: depth(ledger) == 0)
    assert runs == [1]
    assert kinds(ledger, job_id) == [Kind.ENQUEUED, Kind.LEASED, Kind.SUCCEEDED]


def test_one_statement_leases_a_limited_number(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many places are free: who leases and who records would wait for each other."""
    sizes: list[int] = []
    take = Leases.take

    def counted(leases: Leases, messages: Iterable[Message]) -> list[Run]:
        wanted = list(messages)
        sizes.append(len(wanted))
        return take(leases, wanted)

    monkeypatch.setattr(fetcher, "_MOST_AT_ONCE", 5)
    monkeypatch.setattr(Leases, "take", counted)
    jobs = [ledger.enqueue("one") for _ in range(23)]
    for job_id in jobs:
        dispatch(ledger, job_id)
    ledger.job("one")(lambda: None)
    with working(ledger, concurrency=20):
        for job_id in jobs:
            ended(ledger, job_id)
    assert max(sizes) == 5
    assert sum(sizes) >= len(jobs)


def test_t6_a_forged_message_hides_no_true_one(ledger: Ledger) -> None:
    """T6: among messages of one job that come at once, whatever their versions, the true one leases it, once."""
    runs = []

    @ledger.job("once")
    def once() -> None:
        runs.append(1)

    versions = ([1, 7], [7, 1], [2**31 - 1, 1, 2**31 - 2, 2**40, -1, 0, 1])
    jobs = [ledger.enqueue("once") for _ in versions]
    for job_id, forged in zip(jobs, versions, strict=True):
        for version in forged:
            dispatch(ledger, job_id, version)
    with working(ledger, concurrency=20):
        for job_id in jobs:
            assert ended(ledger, job_id).state == "succeeded"
        until(lambda: depth(ledger) == 0)
    assert runs == [1] * 3
    assert [kinds(ledger, job_id) for job_id in jobs] == [[Kind.ENQUEUED, Kind.LEASED, Kind.SUCCEEDED]] * 3


def test_t16_d05_an_unknown_type_is_put_back_for_a_worker_that_knows_it(
    ledger: Ledger, database: str, redis_url: str
) -> None:
    @ledger.job("known")
    def known() -> str:
        return "known"

    registry = CollectorRegistry()
    with ledger_on(database, redis_url) as other:

        @other.job("foreign")
        def foreign() -> str:
            return "foreign"

        with capture_logs() as lines, working(ledger, meters=Meters(registry)):
            foreign_id, known_id = send(ledger, "foreign"), send(ledger, "known")
            assert ended(ledger, known_id).result == "known"
            put_back = "ledger_unknown_type_messages_total"
            until(lambda: (registry.get_sample_value(put_back, {"queue": "default"}) or 0) >= 4)
            with working(other, "w-2"):
                assert ended(ledger, foreign_id).result == "foreign"
    assert [line["type"] for line in lines if line["event"].startswith("unknown type")] == ["foreign"]
    assert kinds(ledger, foreign_id) == [Kind.ENQUEUED, Kind.LEASED, Kind.SUCCEEDED]


def test_a_message_that_names_another_type_than_the_log_gives_the_lease_back(ledger: Ledger) -> None:
    @ledger.job("known")
    def known() -> None:
        raise AssertionError("must not run")

    job_id = ledger.enqueue("foreign")
    with redis.Redis.from_url(ledger.redis_url) as client, working(ledger):
        client.xadd(keys.stream("default", Priority.MEDIUM), Message(job_id, 1, 1, "known").fields())
        until(lambda: len(ledger.history(job_id)) == 3)
    assert ledger.history(job_id)[-1].event.reason == "unknown_type"


def test_d60_without_redis_ready_jobs_come_from_the_read_model(database: str, private_redis: EmbeddedRedis) -> None:
    url = private_redis.url
    with ledger_on(database, url) as ledger:

        @ledger.job("add")
        def add(a: int, b: int) -> int:
            return a + b

        with capture_logs() as lines, working(ledger):
            assert ended(ledger, send(ledger, "add", {"a": 1, "b": 1})).result == 2
            private_redis.stop()
            jobs = [ledger.enqueue("add", {"a": 1, "b": number}) for number in range(30)]
            _fold_jobs(database)
            assert [ended(ledger, job_id).result for job_id in jobs] == [number + 1 for number in range(30)]
            private_redis.start()
            assert private_redis.url == url
            assert ended(ledger, send(ledger, "add", {"a": 2, "b": 2})).result == 4
            until(lambda: any(line["event"] == "Redis is back" for line in lines))
    assert [line["event"] for line in lines if "Redis" in line["event"]] == [
        "Redis is away; ready jobs are taken from the log's read model",
        "Redis is back",
    ]


def test_a_redis_that_refuses_writes_is_as_good_as_away(database: str, private_redis: EmbeddedRedis) -> None:
    with ledger_on(database, private_redis.url) as ledger, redis.Redis.from_url(private_redis.url) as client:

        @ledger.job("add")
        def add(a: int, b: int) -> int:
            return a + b

        client.config_set("min-replicas-to-write", 1)
        job_id = ledger.enqueue("add", {"a": 1, "b": 2})
        _fold_jobs(database)
        with working(ledger):
            assert ended(ledger, job_id).result == 3


def test_a_job_that_is_ready_again_is_taken_again_while_redis_stays_away(database: str, ledger: Ledger) -> None:
    ready = Ready(ledger.database, ["default"], ["t"])
    job_id = ledger.enqueue("t")
    _fold_jobs(database)
    assert [message.version for message in ready.take(5)] == [1]
    assert ready.take(5) == [], "the read model has not heard yet"
    ledger.command(job_id, lambda job, _: commands.lease(job, "w-1", "nonce"))
    ledger.command(job_id, lambda job, _: commands.release(job, "shutdown"))
    _fold_jobs(database)
    assert [message.version for message in ready.take(5)] == [3]


def test_a_job_behind_a_long_one_is_given_back_though_it_was_leased(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger_workers.slots._AHEAD", 60.0)  # it learns fast, on slow machines too
    go = threading.Event()

    @ledger.job("quick")
    def quick() -> None:
        pass

    @ledger.job("slow")
    def slow() -> None:
        go.wait(60)

    quick_ones = [send(ledger, "quick") for _ in range(200)]
    with working(ledger, concurrency=1):
        for job_id in quick_ones:  # all there at once, so that it learns how quick they are, however busy the machine
            ended(ledger, job_id)
        jobs = [send(ledger, "slow") for _ in range(4)]
        until(lambda: all(kinds(ledger, job_id)[1:] == [Kind.LEASED, Kind.ENQUEUED] for job_id in jobs[1:]))
        go.set()


def _fold_jobs(database: str) -> None:
    connection = Database(database)
    (jobs,) = [projection for projection in PROJECTIONS if projection.name == "jobs"]
    engine = Engine(connection, jobs)
    engine.prepare()
    while engine.run_once():
        pass
    connection.close()
