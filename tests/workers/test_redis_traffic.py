"""What a worker asks of Redis: little while it is idle, and never a thing that a cluster's slots would part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis
from structlog.testing import capture_logs

from ledger.runtime.embedded import EmbeddedRedis
from tests.support.dispatching import dispatching, drain
from tests.support.working import ended, ledger_on, until, working

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUEUES = ("critical", "default", "low")
SLOTS = 16384


@pytest.fixture
def cluster(servers_directory: Path) -> Iterator[EmbeddedRedis]:
    """A cluster of one node, which refuses what reaches across slots as any other would."""
    with EmbeddedRedis(servers_directory, settings={"cluster-enabled": "yes"}) as server:
        with redis.Redis.from_url(server.url) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
            until(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))
        yield server


def calls(url: str) -> dict[str, int]:
    with redis.Redis.from_url(url) as client:
        return {name.removeprefix("cmdstat_"): each["calls"] for name, each in client.info("commandstats").items()}


def test_d35_an_idle_worker_asks_little(database: str, private_redis: EmbeddedRedis) -> None:
    """One blocking read for the whole worker, however many jobs it could run at once and however many queues."""
    url = private_redis.url
    with ledger_on(database, url, WORKER_POLL_INTERVAL="50ms") as ledger:

        @ledger.job("t")
        def t() -> None:
            pass

        with working(ledger, queues=",".join(QUEUES), concurrency=50):
            until(lambda: calls(url).get("xreadgroup", 0) > 20)
            before = calls(url)
            until(lambda: calls(url)["xreadgroup"] >= before["xreadgroup"] + 20)
            after = calls(url)
    outside = {"info", "client|setinfo", "hello", "ping"}  # this test's own questions
    asked = {name: count - before.get(name, 0) for name, count in after.items() if name not in outside}
    assert sum(asked.values()) == asked["xreadgroup"], asked


def test_d36_jobs_of_several_queues_run_on_a_cluster(database: str, cluster: EmbeddedRedis) -> None:
    with (
        ledger_on(database, cluster.url) as ledger,
        dispatching(database, cluster.url) as dispatcher,
        capture_logs() as lines,
    ):

        @ledger.job("t")
        def t() -> str:
            return "done"

        with working(ledger, queues=",".join(QUEUES)):
            for _ in range(5):
                jobs = [ledger.enqueue("t", queue=queue) for queue in QUEUES]
                drain(dispatcher)
                assert [ended(ledger, job).result for job in jobs] == ["done"] * len(QUEUES)
            until(lambda: calls(cluster.url)["xreadgroup"] > 20)
    with redis.Redis.from_url(cluster.url) as client:
        refused = client.info("errorstats")["errorstat_CROSSSLOT"]["count"]
    assert refused == 1, "once it has been told it does not ask again"
    said = [line["event"] for line in lines if "slot" in str(line) or "cluster" in str(line)]
    assert said == ["Redis is a cluster, a read waits for one queue at a time"]


def test_d61_every_key_has_our_prefix_and_its_queue_in_braces(database: str, private_redis: EmbeddedRedis) -> None:
    """As words, for who shares a Redis relies on them."""
    url = private_redis.url
    with ledger_on(database, url) as ledger, dispatching(database, url) as dispatcher:

        @ledger.job("t")
        def t() -> None:
            pass

        with working(ledger, queues="mail"):
            job = ledger.enqueue("t", queue="mail", priority="high")
            drain(dispatcher)
            ended(ledger, job)
            with redis.Redis.from_url(url) as client:
                found = {key.decode() for key in client.scan_iter()}
    streams = {f"ledger:{{mail}}:{priority}" for priority in ("critical", "high", "medium", "low")}
    assert streams <= found
    assert {key for key in found if not key.startswith("ledger:")} == set()
