"""The commands that list: as JSON they are what the API answers, filters and all; as text they name what there is."""

from __future__ import annotations

import orjson
import pytest
from ledger_api.app import create_app
from ledger_projections.queries import Queries

from ledger import Ledger
from ledger.job import State
from ledger.settings import from_env
from tests.support.api import Api
from tests.support.lives import fold_all


@pytest.fixture
def api(database, redis_url):
    ledger = Ledger(database_url=database, redis_url=redis_url, settings=from_env({}))
    yield Api(create_app(ledger, Queries(ledger.database), ledger.settings))
    ledger.close()


@pytest.fixture
def jobs(pool, lives):
    """One that is ready, one that succeeded, one that is dead."""
    ready, done, dead = (lives.enqueue(f"t.{n}", queue=f"q{n}") for n in range(3))
    lives.run(done)
    lives.die(dead)
    fold_all(pool)
    return ready, done, dead


def test_jobs_are_listed_as_the_api_lists_them(run, api, jobs):
    assert orjson.loads(run("job", "list", "-o", "json").stdout) == api.get("/jobs").json
    (found,) = orjson.loads(run("job", "list", "--state", "dead", "-o", "json").stdout)
    assert found["id"] == str(jobs[2])
    text = run("job", "list", "--queue", "q0").stdout
    assert str(jobs[0]) in text
    assert str(jobs[1]) not in text
    assert orjson.loads(run("job", "list", "--queue", "nobody", "-o", "json").stdout) == []
    run("job", "list", "--state", "failed", exit_code=2)


def test_runs_are_listed_as_the_api_lists_them(run, api, jobs):
    assert orjson.loads(run("execution", "list", "-o", "json").stdout) == api.get("/executions").json
    (found,) = orjson.loads(run("execution", "list", "--state", "dead", "-o", "json").stdout)
    assert found["job_id"] == str(jobs[2])
    assert str(jobs[1]) in run("execution", "list", "--type", "t.1").stdout


def test_projections_are_listed_as_the_api_lists_them(run, api, jobs):
    told, answered = orjson.loads(run("projection", "list", "-o", "json").stdout), api.get("/projections").json
    assert {each["name"]: each["position"] for each in told} == {each["name"]: each["position"] for each in answered}
    assert "jobs" in run("projection", "list").stdout


def test_statistics_are_those_of_the_api(run, api, jobs):
    told = orjson.loads(run("stats", "-o", "json").stdout)
    assert told == api.get("/stats").json
    assert (told["executions_24h"]["total"], told["dead_letter_count"], told["jobs"]["ready"]) == (2, 1, 1)
    assert "dead" in run("stats").stdout


def test_a_dead_job_is_retried_by_command(run, lives, jobs):
    assert run("job", "retry", jobs[2], "--reason", "mended").stdout == f"job/{jobs[2]} retried\n"
    assert lives.job(jobs[2]).state is State.READY
    assert "mended" in run("job", "events", jobs[2]).stdout
    run("job", "retry", jobs[2], exit_code=4)
