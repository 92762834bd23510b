"""Queues over HTTP: who is listed, how deep, and what went through."""

from __future__ import annotations

import threading

import pytest
from ledger_api.pages import LAG_AGE
from ledger_projections.builtin import PROJECTIONS

from ledger.events import Priority
from tests.support.api import problem, wrong
from tests.support.api_process import until
from tests.support.lives import fold_all

INFO = {
    "name", "depth", "scheduled", "ready", "running", "retrying", "dead", "oldest_ready_age_seconds", "paused",
    "paused_at", "paused_by", "pause_reason",
}  # fmt: skip


@pytest.fixture
def queue(lives, refresh, name) -> str:
    """Two ready jobs, one running, one dead, one succeeded."""
    lives.enqueue(queue=name)
    lives.enqueue(queue=name, priority=Priority.CRITICAL)
    lives.lease(lives.enqueue(queue=name))
    lives.die(lives.enqueue(queue=name))
    lives.run(lives.enqueue(queue=name))
    refresh()
    return name


def test_d46_every_queue_that_was_named_is_listed(api, queue):
    answer = api.get("/queues")
    assert float(answer.headers["Ledger-Lag-Seconds"]) >= 0
    assert [info["name"] for info in answer.json] == sorted(info["name"] for info in answer.json)
    (found,) = (info for info in answer.json if info["name"] == queue)
    assert found.keys() == INFO
    assert (found["depth"], found["ready"], found["running"], found["dead"], found["paused"]) == (2, 2, 1, 1, False)


def test_depth_counts_ready_jobs_only(api, queue):
    assert api.get(f"/queues/{queue}/depth").json == {"queue": queue, "depth": 2}


def test_the_depth_of_a_queue_nobody_used_is_zero(api, refresh, name):
    refresh()
    assert api.get(f"/queues/{name}/depth").json == {"queue": name, "depth": 0}


@pytest.mark.parametrize("name", ["-x", "x" * 51, "a%20b", "%00", "%0a"])
@pytest.mark.parametrize("what", ["depth", "stats"])
def test_d46_what_is_no_name_is_not_found(api, name, what):
    problem(api.get(f"/queues/{name}/{what}"), 404, "not_found")


def test_d47_statistics_are_there(api, queue):
    stats = api.get(f"/queues/{queue}/stats").json
    assert stats.keys() == INFO | {
        "queue", "depth_by_priority", "window_seconds", "enqueued", "succeeded", "failed", "retried", "dead_lettered",
        "cancelled", "crashed", "throughput_per_second", "wait_seconds", "run_seconds",
    }  # fmt: skip
    assert (stats["queue"], stats["window_seconds"]) == (queue, 3600)
    assert stats["depth_by_priority"] == {"critical": 1, "high": 0, "medium": 1, "low": 0}
    assert (stats["enqueued"], stats["succeeded"], stats["failed"], stats["dead_lettered"]) == (5, 1, 1, 1)
    assert stats["throughput_per_second"] == pytest.approx(1 / 3600)
    assert stats["run_seconds"].keys() == {"p50", "p95", "p99", "max"}


@pytest.mark.parametrize("window", ["59s", "169h", "1d", "60", "0", "", "-1h", "P1M"])
def test_a_bad_window_is_refused(api, window, name):
    assert wrong(problem(api.get(f"/queues/{name}/stats?window={window}"), 400, "invalid_parameter")) == {"window"}


@pytest.mark.parametrize(("window", "seconds"), [("1m", 60), ("PT24H", 86400), ("P1W", 604800)])
def test_a_window_may_be_chosen(api, queue, window, seconds):
    assert api.get(f"/queues/{queue}/stats?window={window}").json["window_seconds"] == seconds


@pytest.mark.parametrize(("path", "late"), [("/queues", "jobs"), ("/queues/q/stats", "jobs"), ("/stats", "attempts")])
def test_a_response_is_as_late_as_the_latest_read_model_it_shows(api, ledger, lives, refresh, path, late):
    refresh()
    lives.lease(lives.enqueue())
    until(lambda: float(api.get("/jobs").headers["Ledger-Lag-Seconds"]) > 0.3)
    fold_all(ledger.database, [each for each in PROJECTIONS if each.name != late])
    threading.Event().wait(2 * LAG_AGE)
    assert float(api.get(path).headers["Ledger-Lag-Seconds"]) > 0.3
    refresh()
