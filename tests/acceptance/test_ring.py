"""The whole ring in its real processes: from a request by HTTP through every room, and back by HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.support.ring import Ring, running
from tests.support.working import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.heavy

AT_ONCE = {"backoff": "constant", "base": "1ms", "max": "1ms", "jitter": "none"}
ADD = {"type": "add", "payload": {"a": 2, "b": 3}}


@pytest.fixture(scope="module")
def ring(module_database: str, module_redis_url: str) -> Iterator[Ring]:
    """One system for all tests here; when they are done, it must be able to prove its books."""
    with running(module_database, module_redis_url) as ring:
        ring.start_worker("--queues", "default,traffic")
        yield ring
        ring.command("verify")


def history(ring: Ring, job_id: str) -> list[dict[str, Any]]:
    return ring.get(f"/jobs/{job_id}/events")


def time_of(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["at"])


def test_a_job_goes_round_and_leaves_exactly_its_history(ring: Ring) -> None:
    job = ring.post("/jobs", ADD)
    done = ring.reached(job["id"], "succeeded")
    assert (done["result"], done["attempt"], done["version"]) == (5, 1, 3)
    enqueued, leased, succeeded = history(ring, job["id"])
    assert [event["kind"] for event in (enqueued, leased, succeeded)] == ["enqueued", "leased", "succeeded"]
    assert [event["version"] for event in (enqueued, leased, succeeded)] == [1, 2, 3]
    assert enqueued["actor"] == "api:anonymous"
    assert leased["actor"] == succeeded["actor"] == f"worker:{leased['data']['worker_id']}"
    assert time_of(enqueued) <= time_of(leased) <= time_of(succeeded)
    assert until(lambda: ring.get(f"/executions/{job['id']}"))[0]["state"] == "succeeded"


def test_t13_d01_d04_a_failing_job_is_retried_buried_listed_and_brought_back(ring: Ring, tmp_path: Path) -> None:
    path = tmp_path / "missing"
    wanted = {"type": "read_file", "payload": {"path": str(path)}, "max_retries": 1, "retry": AT_ONCE}
    job_id = ring.post("/jobs", wanted)["id"]
    ring.reached(job_id, "dead")
    life = ["enqueued", "leased", "failed", "retried", "enqueued", "leased", "failed", "dead_lettered"]
    assert ring.kinds(job_id) == life
    assert history(ring, job_id)[4]["actor"] == "scheduler"

    (letter,) = until(lambda: ring.get("/dlq?type=read_file"))
    assert (letter["job_id"], letter["error_type"], letter["attempt"]) == (job_id, "FileNotFoundError", 2)
    path.write_text("found")
    ring.post(f"/dlq/{letter['id']}/retry", {"reason": "the file is there"}, status=200)
    ring.post(f"/dlq/{letter['id']}/retry", {}, status=409)
    assert ring.reached(job_id, "succeeded")["result"] == "found"
    assert ring.kinds(job_id) == [*life, "retried", "enqueued", "leased", "succeeded"]
    until(lambda: ring.get("/dlq?type=read_file") == [])


def test_a_scheduled_job_runs_at_its_time_and_not_before(ring: Ring) -> None:
    job = ring.post("/jobs", ADD | {"delay": "1500ms"})
    assert job["state"] == "scheduled"
    run_at = datetime.fromisoformat(job["run_at"])
    ring.reached(job["id"], "succeeded")
    scheduled, enqueued, leased, _ = history(ring, job["id"])
    assert time_of(scheduled) + timedelta(seconds=1.4) < run_at
    assert run_at <= time_of(enqueued) <= time_of(leased) < run_at + timedelta(seconds=3)


def test_an_async_handler_runs_on_a_loop(ring: Ring) -> None:
    jobs = [ring.post("/jobs", {"type": "wait_async", "payload": {"seconds": 0.5}})["id"] for _ in range(5)]
    runs = [ring.reached(job_id, "succeeded") and history(ring, job_id) for job_id in jobs]
    assert {ring.get(f"/jobs/{job_id}")["result"] for job_id in jobs} == {True}
    last_begun = max(time_of(leased) for _, leased, _ in runs)
    assert last_begun < min(time_of(succeeded) for _, _, succeeded in runs), "they waited for each other"


def test_a_job_exists_if_and_only_if_the_callers_transaction_commits(ring: Ring) -> None:
    with psycopg.connect(ring.ledger.database_url) as connection:
        kept = ring.ledger.enqueue("add", {"a": 1, "b": 1}, connection=connection)
        ring.get(f"/jobs/{kept}", status=404)
        connection.commit()
        undone = ring.ledger.enqueue("add", {"a": 1, "b": 1}, connection=connection)
        connection.rollback()
    assert ring.reached(str(kept), "succeeded")["result"] == 2
    ring.reached(ring.post("/jobs", ADD)["id"], "succeeded")  # what came later has gone all the way round
    ring.get(f"/jobs/{undone}", status=404)
    assert str(undone) not in {job["id"] for job in ring.get("/jobs")}


def test_a_rebuild_under_traffic_never_takes_a_count_back(ring: Ring) -> None:
    stop = Event()

    def post() -> int:
        """Keep the system busy, within what one page of the list shows."""
        posted = 0
        while posted < 900 and not stop.is_set():
            ring.post("/jobs", ADD | {"queue": "traffic"})
            posted += 1
        return posted

    def poll() -> list[tuple[int, int, int]]:
        seen = []
        while not stop.is_set():
            jobs = len(ring.get("/jobs?queue=traffic&limit=1000"))
            stats = ring.get("/queues/traffic/stats")
            seen.append((jobs, stats["enqueued"], stats["succeeded"]))
        return seen

    with ThreadPoolExecutor(2) as pool:
        posting, polling = pool.submit(post), pool.submit(poll)
        until(lambda: ring.get("/queues/traffic/stats")["succeeded"] > 20)
        try:
            rebuilt = ring.command("rebuild-projections")
        finally:
            stop.set()
        seen, posted = polling.result(), posting.result()
    assert "queue_stats" in rebuilt.text
    assert len(seen) > 10
    for counts in zip(*seen, strict=True):
        assert list(counts) == sorted(counts)
        assert counts[-1] > counts[0], "there was no traffic"

    until(lambda: ring.get("/queues/traffic/stats")["succeeded"] == posted)
    until(lambda: len(ring.get("/jobs?queue=traffic&state=succeeded&limit=1000")) == posted)
    assert ring.get("/queues/traffic/stats")["enqueued"] == posted
