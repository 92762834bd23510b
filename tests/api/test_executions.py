"""Runs, counts, workers and projections over HTTP."""

from __future__ import annotations

from tests.support.api import NOBODY, problem, wrong
from tests.support.lives import FAILURE


def test_d02_every_run_is_listed_with_its_outcome(api, lives, refresh, name):
    job_id = lives.enqueue(queue=name, payload=b'{"to": "x"}')
    lives.die(job_id)
    refresh()
    answer = api.get(f"/executions?queue={name}&state=dead")
    (run,) = answer.json
    assert (run["id"], run["job_id"], run["lease_version"], run["attempt"]) == (f"{job_id}:2", str(job_id), 2, 1)
    assert (run["state"], run["error_type"], run["payload"]) == ("dead", FAILURE.error_type, {"to": "x"})
    assert run["wait_ms"] >= 0
    assert float(answer.headers["Ledger-Lag-Seconds"]) >= 0
    assert api.get(f"/executions/{job_id}").json == [run]
    assert api.get(f"/executions?queue={name}&state=completed").json == []


def test_d43_a_job_that_never_ran_has_no_runs_and_an_unknown_one_is_not_found(api, lives):
    assert api.get(f"/executions/{lives.enqueue()}").json == []
    for unknown in (NOBODY, "junk"):
        assert problem(api.get(f"/executions/{unknown}"), 404, "not_found")["error"].startswith("job not found")


def test_a_state_no_run_has_is_refused(api):
    assert wrong(problem(api.get("/executions?state=ready&limit=0"), 400, "invalid_parameter")) == {"state", "limit"}


def test_stats_add_up(api, lives, refresh):
    lives.die(lives.enqueue())
    refresh()
    stats = api.get("/stats").json
    runs = stats["executions_24h"]
    assert runs["total"] == sum(n for k, n in runs.items() if k not in ("total", "completed", "avg_duration_ms")) >= 1
    assert stats["dead_letter_count"] == stats["jobs"]["dead"] >= 1


def test_workers_and_projections_are_lists(api, refresh):
    refresh()
    assert isinstance(api.get("/workers").json, list)
    names = {projection["name"] for projection in api.get("/projections").json}
    assert {"jobs", "attempts", "queue_stats", "dead_letters"} <= names
