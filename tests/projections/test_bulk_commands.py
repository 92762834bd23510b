"""Bulk changes and pauses from the command line: counted first, agreed to, and told job by job."""

from __future__ import annotations

import orjson
import pytest
from click.testing import CliRunner

from ledger.cli import main
from ledger.cli_output import actor
from ledger.job import State
from tests.support.lives import fold_all

UNKNOWN = "019f7c3e-5a10-7000-8000-000000000000"
RESULT = {"operation_id", "dry_run", "matched", "changed", "remaining", "refused", "sample"}


@pytest.fixture
def run(database, redis_url, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("REDIS_URL", redis_url)

    def invoke(*arguments: object, exit_code: int = 0, **options):
        result = CliRunner().invoke(main, list(map(str, arguments)), **options)
        assert result.exit_code == exit_code, result.output
        return result

    return invoke


@pytest.fixture
def waiting(pool, lives):
    made = [lives.enqueue(f"t{n}") for n in range(3)]
    fold_all(pool)
    return made


def states(lives, jobs) -> list[State]:
    return [lives.job(job_id).state for job_id in jobs]


def lines(jobs, past: str = "cancelled") -> set[str]:
    return {f"job/{job_id} {past}" for job_id in jobs}


def test_d58_jobs_are_cancelled_by_filter(run, lives, waiting):
    result = run("job", "cancel", "--type", "t0,t1", "--reason", "wrong list", "--yes")
    assert set(result.stdout.splitlines()) == lines(waiting[:2])
    assert "2 jobs match" in result.stderr
    assert "cancel: 2 of 2" in result.stderr
    assert states(lives, waiting) == [State.CANCELLED, State.CANCELLED, State.READY]
    last = lives.log.history(waiting[0])[-1]
    assert (last.actor, last.event.reason) == (actor(), "wrong list")
    assert last.trace.correlation_id == lives.log.history(waiting[1])[-1].trace.correlation_id


def test_without_a_terminal_only_yes_is_an_answer(run, lives, waiting):
    refused = run("job", "cancel", "--all", exit_code=2)
    assert "Cancel 3 jobs?" in refused.stderr
    assert "--yes" in refused.stderr
    assert states(lives, waiting) == [State.READY] * 3


@pytest.mark.parametrize(("answer", "exit_code", "state"), [("y", 0, State.CANCELLED), ("n", 1, State.READY)])
def test_on_a_terminal_it_asks(run, lives, waiting, monkeypatch, answer, exit_code, state):
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    run("job", "cancel", "--all", input=f"{answer}\n", exit_code=exit_code)
    assert states(lives, waiting) == [state] * 3


def test_a_dry_run_counts(run, lives, waiting):
    assert "3 jobs match" in run("job", "cancel", "--queue", "mail", "--dry-run").stderr
    result = orjson.loads(run("job", "cancel", "--state", "ready", "--dry-run", "-o", "json").stdout)
    assert result.keys() == RESULT
    assert (result["dry_run"], result["matched"], result["changed"]) == (True, 3, 0)
    assert states(lives, waiting) == [State.READY] * 3


def test_nothing_matches_and_nothing_is_asked(run, waiting):
    assert "0 jobs match" in run("job", "cancel", "--queue", "web").stderr


def test_as_json_it_is_the_result_of_the_api(run, waiting):
    result = orjson.loads(run("job", "cancel", "--all", "--yes", "-o", "json").stdout)
    assert result.keys() == RESULT
    assert (result["matched"], result["changed"], result["remaining"], result["refused"]) == (3, 3, 0, [])
    assert set(result["sample"]) == {str(job_id) for job_id in waiting}


def test_filters_of_time_and_priority_are_understood(run, lives, waiting):
    born = lives.job(waiting[1]).created_at.isoformat()
    for options, words in (
        (("--created-after", born), "1 job matches"),
        (("--created-before", born), "1 job matches"),
        (("--priority", "medium,low"), "3 jobs match"),
        (("--priority", "high"), "0 jobs match"),
        (("--state", "queued"), "3 jobs match"),
    ):
        assert words in run("job", "cancel", *options, "--dry-run").stderr
    run("job", "cancel", "--state", "lost", exit_code=2)
    run("job", "cancel", "--created-after", "yesterday", exit_code=2)
    run("job", "cancel", "--all", "--yes", "--reason", "x" * 501, exit_code=2)


def test_several_ids_are_one_action_and_what_is_refused_is_said(run, lives, waiting):
    lives.run(waiting[2])
    result = run("job", "cancel", *waiting, UNKNOWN, exit_code=4)
    assert set(result.stdout.splitlines()) == lines(waiting[:2])
    assert f"job/{waiting[2]} not cancelled: " in result.stderr
    assert f"job/{UNKNOWN} not cancelled: job not found" in result.stderr
    assert "2 of 4 refused" in result.stderr


def test_one_id_is_one_request(run, lives, waiting):
    assert run("job", "cancel", waiting[0]).stdout == f"job/{waiting[0]} cancelled\n"
    assert orjson.loads(run("job", "cancel", waiting[1], "-o", "json").stdout)["state"] == "cancelled"
    assert lives.log.history(waiting[0])[-1].trace.correlation_id == str(waiting[0])
    assert "job not found" in run("job", "cancel", UNKNOWN, exit_code=3).stderr
    lives.run(waiting[2])
    run("job", "cancel", waiting[2], exit_code=4)


def test_which_ones_must_be_said(run):
    run("job", "cancel", exit_code=2)
    run("job", "cancel", UNKNOWN, "--all", exit_code=2)
    run("job", "cancel", UNKNOWN, "--queue", "mail", exit_code=2)


def test_d31_all_dead_letters_are_retried_at_once_or_later(run, pool, lives):
    made = [lives.enqueue() for _ in range(3)]
    for job_id in made:
        lives.die(job_id)
    fold_all(pool)
    assert set(run("dlq", "retry", *made[:2], "--delay", "1h").stdout.splitlines()) == lines(made[:2], "retried")
    fold_all(pool)
    run("dlq", "retry", "--error-contains", "no such", "--failed-after", "2020-01-01T00:00:00Z", "--yes")
    assert states(lives, made) == [State.RETRYING, State.RETRYING, State.READY]


def test_more_than_one_request_could_change_are_done_in_one_go(run, pool, lives):
    from ledger_projections import bulk_requests  # noqa: PLC0415

    made = [lives.enqueue() for _ in range(bulk_requests.DEFAULT_BULK + 5)]
    fold_all(pool)
    result = orjson.loads(run("job", "cancel", "--all", "--yes", "-o", "json").stdout)
    assert (result["changed"], result["remaining"]) == (len(made), 0)


def test_d58_queues_are_paused_and_resumed(run, pool, lives):
    lives.enqueue()
    fold_all(pool)
    assert run("queue", "pause", "mail", "--reason", "ill").stdout == "queue/mail paused\n"
    listed = run("queue", "list").stdout
    assert f"by {actor()}: ill" in listed
    (queue,) = orjson.loads(run("queue", "list", "-o", "json").stdout)
    assert (queue["paused"], queue["paused_by"], queue["pause_reason"]) == (True, actor(), "ill")
    assert "ill" in run("queue", "stats", "mail").stdout
    resumed = orjson.loads(run("queue", "resume", "mail", "-o", "json").stdout)
    assert (resumed["name"], resumed["paused"]) == ("mail", False)
    assert run("queue", "resume", "mail").stdout == "queue/mail resumed\n"
    run("queue", "pause", "-x", exit_code=2)
    run("queue", "pause", "a b", exit_code=3)
