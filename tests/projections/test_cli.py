"""The commands of this room: JSON is the API's resource, words go to stderr, exit codes say what happened."""

from __future__ import annotations

import orjson
import pytest
import redis
from ledger_projections.dispatch import Dispatcher

from ledger import ids, keys
from ledger.events import Failed
from ledger.job import State
from tests.support.lives import fold_all


@pytest.fixture
def dead(pool, lives):
    made = [lives.enqueue(f"t{n}", queue=f"q{n}") for n in range(3)]
    for job_id in made:
        lives.die(job_id)
    fold_all(pool)
    return made


def states(lives, jobs) -> list[State]:
    return [lives.job(job_id).state for job_id in jobs]


def test_queues_in_words_and_as_resources(run, pool, lives):
    lives.enqueue()
    fold_all(pool)
    (queue,) = orjson.loads(run("queue", "list", "-o", "json").stdout)
    assert (queue["name"], queue["depth"], queue["paused"]) == ("mail", 1, False)
    assert "mail" in run("queue", "list").stdout
    stats = orjson.loads(run("queue", "stats", "mail", "--window", "15m", "-o", "json").stdout)
    assert (stats["queue"], stats["enqueued"], stats["window_seconds"]) == ("mail", 1, 900)
    assert "throughput" in run("queue", "stats", "mail").stdout
    for window in ("1 hour", "1s", "169h"):
        run("queue", "stats", "mail", "--window", window, exit_code=2)


def test_dead_letters_are_listed_and_shown(run, dead):
    letters = orjson.loads(run("dlq", "list", "-o", "json").stdout)
    assert [letter["job_id"] for letter in letters] == [str(job_id) for job_id in reversed(dead)]
    assert [each["job_type"] for each in orjson.loads(run("dlq", "list", "--queue", "q1", "-o", "json").stdout)] == [
        "t1"
    ]
    shown = orjson.loads(run("dlq", "get", letters[0]["id"], "-o", "json").stdout)
    assert shown == letters[0]
    assert "job not found in DLQ" in run("dlq", "get", "nope", exit_code=3).stderr
    page = run("dlq", "list", "--limit", "2")
    cursor = page.stderr.split("--cursor ")[1].strip()
    rest = run("dlq", "list", "--limit", "2", "--cursor", cursor)
    assert str(dead[0]) in rest.stdout
    assert str(dead[2]) not in rest.stdout


def test_a_dead_letter_is_retried_once(run, lives, dead):
    letter = f"{dead[0]}:{lives.job(dead[0]).version}"
    assert run("dlq", "retry", letter, "--reason", "fixed").stdout == f"job/{dead[0]} retried\n"
    assert lives.job(dead[0]).state is State.READY
    again = run("dlq", "retry", letter, exit_code=4)
    assert "it is no longer dead of" in again.stderr
    assert lives.job(dead[0]).requeue_count == 1
    run("dlq", "retry", "nope", exit_code=3)


def test_many_are_changed_only_when_asked_for(run, lives, dead):
    run("dlq", "discard", exit_code=2)
    run("dlq", "discard", str(dead[0]), "--queue", "q1", exit_code=2)
    assert "2 dead letters match" in run("dlq", "discard", "--queue", "q0,q1", "--dry-run").stderr
    run("dlq", "discard", "--queue", "q0,q1", exit_code=2)
    assert states(lives, dead) == [State.DEAD] * 3
    run("dlq", "discard", "--queue", "q0,q1", "--yes")
    assert states(lives, dead) == [State.DISCARDED, State.DISCARDED, State.DEAD]
    result = run("dlq", "retry", "--all", "--delay", "1h", "--yes")
    assert "1 dead letter matches" in result.stderr, "the read model has not heard yet, the log decides"
    assert states(lives, dead) == [State.DISCARDED, State.DISCARDED, State.RETRYING]


def test_a_rebuild_ends_with_the_comparison(run, database, pool, lives, dead):
    result = run("rebuild-projections", "jobs", "dead_letters")
    assert [line.split() for line in result.stdout.splitlines()[1:]] == [["jobs", "6", "0"], ["dead_letters", "3", "0"]]
    assert "rebuild: " in result.stderr
    assert "no projection 'nope'" in run("rebuild-projections", "nope", exit_code=2).stderr


def test_rebuilding_dispatch_puts_back_what_redis_has_lost(run, pool, lives, redis_url):
    lives.enqueue()
    fold_all(pool)
    dispatcher = Dispatcher(pool, redis_url)
    dispatcher.prepare()
    with redis.Redis.from_url(redis_url) as client:
        while dispatcher.run_once():
            pass
        (stream,) = client.keys("ledger:{mail}:*")
        client.xtrim(stream, maxlen=0)
        run("rebuild-projections", "dispatch")
        assert not client.exists(keys.MARKER)
        dispatcher.look_at_once()
        while dispatcher.run_once():
            pass
        assert client.xlen(stream) == 1
    dispatcher.close()


def test_without_read_models_the_command_says_what_to_start(run):
    assert "ledger projector" in run("dlq", "list", exit_code=5).stderr


@pytest.mark.parametrize("command", ["queue list", "queue stats", "dlq list", "dlq get", "dlq retry", "dlq discard"])
def test_every_command_has_a_sentence_and_an_example(run, command):
    assert f"ledger {command}" in run(*command.split(), "--help").stdout


def test_a_name_that_no_queue_can_have_names_none(run):
    for verb in ("stats", "pause", "resume"):
        assert "queue not found" in run("queue", verb, "no queue", exit_code=3).stderr


def test_jobs_of_a_schedule_and_with_their_payloads(run, pool, lives):
    schedule = ids.mint()
    made = lives.enqueue(schedule_id=schedule, payload=b'{"n":  1.0}')
    lives.enqueue()
    fold_all(pool)
    (found,) = orjson.loads(run("job", "list", "--schedule-id", schedule, "-o", "json").stdout)
    assert (found["id"], found["payload"]) == (str(made), None)
    assert '"payload":{"n":  1.0}' in run("job", "list", "--include", "payload", "-o", "json").stdout
    run("job", "list", "--include", "payload", "--limit", "101", exit_code=2)
    run("job", "list", "--schedule-id", "nightly", exit_code=2)
    assert run("job", "list", "--worker-id", "nobody").stderr == "No jobs match.\n"


def test_attempts_of_one_job(run, pool, lives):
    ran, other, never = lives.enqueue(), lives.enqueue(), lives.enqueue()
    lives.run(ran)
    lives.run(other)
    fold_all(pool)
    assert [each["job_id"] for each in orjson.loads(run("execution", "list", ran, "-o", "json").stdout)] == [str(ran)]
    assert orjson.loads(run("execution", "list", never, "-o", "json").stdout) == []
    assert "job not found" in run("execution", "list", "no-id", exit_code=3).stderr
    assert "job not found" in run("execution", "list", ids.mint(), exit_code=3).stderr


def test_names_like_the_old_words_for_states_are_names(run, pool, lives):
    lives.enqueue("pending", queue="completed")
    fold_all(pool)
    for option, name in (("--type", "pending"), ("--queue", "completed"), ("--state", "queued")):
        assert len(orjson.loads(run("job", "list", option, name, "-o", "json").stdout)) == 1, option
    assert "use retrying or dead" in run("job", "list", "--state", "failed", exit_code=2).stderr


@pytest.mark.parametrize(
    "command",
    [
        "job list --queue", "job list --type", "job list --state", "job list --worker-id", "job list --correlation-id",
        "job list --cursor", "job list --created-after", "execution list --type", "execution list --worker-id",
        "dlq list --queue", "dlq list --error-contains", "dlq discard --type t0 --yes --error-contains",
        "job cancel --type t0 --yes --queue",
    ],
)  # fmt: skip
def test_an_empty_filter_is_refused_and_not_ignored(run, lives, dead, command):
    refused = run(*command.split(), "", exit_code=2)
    assert not refused.stdout
    assert states(lives, dead) == [State.DEAD] * 3


def test_discarding_one_answers_as_the_api_does(run, dead):
    assert orjson.loads(run("dlq", "discard", dead[0], "-o", "json").stdout)["status"] == "deleted"


def test_an_error_of_many_lines_is_one_line_of_the_list(run, pool, lives, monkeypatch):
    monkeypatch.setattr("tests.support.lives.FAILURE", Failed("ValueError", "first\nsecond", "Traceback …", 1.0))
    lives.die(lives.enqueue())
    monkeypatch.setattr("tests.support.lives.FAILURE", Failed("ValueError", "long " * 100, "Traceback …", 1.0))
    lives.die(lives.enqueue())
    fold_all(pool)
    _heading, long, short = run("dlq", "list").stdout.splitlines()
    assert "ValueError: first…" in short
    assert "long long lon…  " in long


def test_a_rebuild_tells_scripts_what_it_made(run, pool, lives):
    lives.enqueue()
    fold_all(pool)
    (made,) = orjson.loads(run("rebuild-projections", "dead_letters", "-o", "json").stdout)
    assert made == {"name": "dead_letters", "rows": 0, "differing": 0}
    assert orjson.loads(run("rebuild-projections", "dispatch", "-o", "json").stdout) == []
