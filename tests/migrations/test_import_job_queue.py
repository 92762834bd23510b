"""Taking over from job-queue: what it left in Redis and Postgres, once, and without touching it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import redis
from click.testing import CliRunner, Result
from ledger_projections.filters import DeadLetterFilter
from ledger_projections.queries import Queries
from ledger_projections.verify import verify

from ledger import Ledger
from ledger.cli import main
from ledger.schedules import Schedules
from tests.support.lives import fold_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TABLES = """
create table dead_letter_queue (
  id uuid primary key default gen_random_uuid(), job_id varchar(64) not null unique, job_type varchar(100) not null,
  queue varchar(50) not null, payload jsonb not null, priority varchar(10) not null default 'medium',
  error_message text not null, stack_trace text, retry_count int not null, max_retries int not null,
  original_created_at timestamptz not null, failed_at timestamptz default now(), requeued_at timestamptz,
  requeue_count int default 0, metadata jsonb
);
create table job_schedules (
  id uuid primary key default gen_random_uuid(), name varchar(100) unique not null, job_type varchar(100) not null,
  payload jsonb, cron_expression varchar(100) not null, timezone varchar(50) default 'UTC',
  queue varchar(50) default 'default', priority varchar(10) default 'medium', max_retries int default 3,
  timeout_seconds int default 300, is_active boolean default true, last_run_at timestamptz,
  last_run_status varchar(20), next_run_at timestamptz, created_at timestamptz default now(),
  updated_at timestamptz default now()
)
"""
DEAD = """
insert into dead_letter_queue
  (job_id, job_type, queue, payload, error_message, stack_trace, retry_count, max_retries, original_created_at,
   failed_at, requeued_at, metadata)
values
  ('dead-1', 'mail.send', 'mail', '{"n": 1}', 'no such address', 'goroutine 1', 3, 3, now(), now(), null, '{"a": "b"}'),
  ('requeued', 'mail.send', 'mail', '{}', 'once', null, 3, 3, now(), now() - interval '1 hour', now(), null),
  ('both', 'mail.send', 'mail', 'null', 'told twice', null, 3, 3, now(), now(), null, null)
"""
SCHEDULES = """
insert into job_schedules (name, job_type, payload, cron_expression, timezone, is_active) values
  ('nightly', 'report.make', '{"kind": "day"}', '0 3 * * *', 'Europe/Berlin', true),
  ('asleep', 'report.make', null, '*/5 * * * *', 'UTC', false),
  ('broken', 'report.make', null, '61 * * * *', 'UTC', true)
"""
FUTURE = 4_102_444_800
"""2100: too far for Ledger, which looks five years ahead."""


def old_job(id_: str, **members: Any) -> dict[str, Any]:
    """A job as the old system wrote it."""
    return {
        "id": id_,
        "type": "mail.send",
        "payload": {"to": id_},
        "queue": "mail",
        "priority": "high",
        "max_retries": 5,
        "retry_count": 0,
        "timeout": 90_000_000_000,
        "created_at": "2025-01-02T03:04:05.123456789Z",
        "state": "queued",
        **members,
    }


@pytest.fixture
def ledger(database: str, redis_url: str) -> Iterator[Ledger]:
    ledger = Ledger(database_url=database, redis_url=redis_url)
    yield ledger
    ledger.close()


@pytest.fixture
def old_redis(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def put(old_redis: redis.Redis) -> Callable[..., None]:
    def put(*jobs: dict[str, Any]) -> None:
        for job in jobs:
            old_redis.set(f"job:{job['id']}", json.dumps(job))

    return put


@pytest.fixture
def old_tables(empty_database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(TABLES)
        yield connection


@pytest.fixture
def run(database: str, empty_database: str, redis_url: str):
    environment = {
        "DATABASE_URL": database,
        "REDIS_URL": redis_url,
        "SOURCE_DATABASE_URL": empty_database,
        "SOURCE_REDIS_URL": redis_url,
    }

    def invoke(*arguments: str, **more: str | None) -> Result:
        return CliRunner(env=environment | more).invoke(main, ["import", "job-queue", *arguments], prog_name="ledger")

    return invoke


def reported(result: Result, exit_code: int = 0) -> dict[str, Any]:
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def imported(ledger: Ledger) -> dict[str, Any]:
    """The jobs of the log by their old ids."""
    with ledger.database.connection() as connection:
        ids = [row[0] for row in connection.execute("select distinct job_id from ledger.events").fetchall()]
    jobs = [ledger.get(job_id) for job_id in ids]
    assert len({job.metadata["imported_id"] for job in jobs}) == len(jobs)
    return {job.metadata["imported_id"]: job for job in jobs}


def test_each_state_becomes_what_it_means_here(run, put, old_redis: redis.Redis, ledger: Ledger):
    now = int(ledger.now().timestamp())
    put(
        old_job("queued", metadata={"stream": "stream:mail:high", "message_id": "1-0", "user": "u1"}),
        old_job("pending", state="pending", priority="critical", payload=None, timeout=0),
        old_job("processing", state="processing", started_at="2025-01-02T03:04:05Z"),
        old_job("delayed", state="scheduled", scheduled_at="2025-01-02T03:04:05Z"),
        old_job("overdue", state="scheduled"),
        old_job("lost", state="scheduled", scheduled_at="2025-01-02T03:04:05Z"),
        old_job("completed", state="completed"),
        old_job("dead", state="dead", retry_count=5, last_error="no such address"),
    )
    old_redis.zadd("delayed", {"delayed": now + 3600, "overdue": now - 3600})
    report = reported(run("-o", "json"))
    assert report["jobs"] == {"found": 8, "imported": 7, "already_there": 0, "ended": 1, "refused": 0}
    jobs = imported(ledger)
    assert {old: job.state.value for old, job in jobs.items()} == {
        "queued": "ready",
        "pending": "ready",
        "processing": "ready",
        "delayed": "scheduled",
        "overdue": "ready",
        "lost": "ready",
        "dead": "dead",
    }
    queued = jobs["queued"]
    assert queued.request.payload == b'{"to": "queued"}'
    assert (queued.type, queued.queue, queued.priority.word) == ("mail.send", "mail", "high")
    assert (queued.max_retries, queued.request.timeout_seconds) == (5, 90)
    assert queued.metadata == {"user": "u1", "imported_id": "queued"}
    assert jobs["pending"].payload == {}
    assert jobs["pending"].priority.word == "critical"
    assert jobs["delayed"].run_at.timestamp() == now + 3600
    assert jobs["dead"].failure.error_message == "no such address"


def test_dead_letters_and_schedules_come_with_what_the_tables_know(
    run, put, old_tables, redis_url: str, ledger: Ledger
):
    old_tables.execute(DEAD)
    old_tables.execute(SCHEDULES)
    put(old_job("both", state="dead", last_error="told twice"))
    report = reported(run("-o", "json"), exit_code=4)
    assert report["dead_letters"] == {"found": 3, "imported": 2, "already_there": 0, "ended": 1, "refused": 0}
    assert (report["jobs"]["found"], report["jobs"]["already_there"]) == (1, 1)
    assert report["schedules"] == {"found": 3, "imported": 2, "already_there": 0, "ended": 0, "refused": 1}
    (refused,) = report["refused"]
    assert (refused["kind"], refused["id"]) == ("schedule", "broken")
    assert "cron_expression" in refused["detail"]

    dead = imported(ledger)["dead-1"]
    assert (dead.failure.error_message, dead.failure.stack_trace) == ("no such address", "goroutine 1")
    assert dead.metadata == {"a": "b", "imported_id": "dead-1"}
    fold_all(ledger.database)
    (letter,) = Queries(ledger.database).list_dead_letters(DeadLetterFilter(ids=(dead.id,))).items
    assert (letter.error_message, letter.reason, letter.attempt) == ("no such address", "retries_exhausted", 1)
    checks = verify(ledger.database, redis_url, max_crashes=3)
    assert not [check for check in checks if check.differing and check.name != "redis"], checks
    assert ledger.retry(dead.id).state.value == "ready"

    schedules = {schedule.name: schedule for schedule in Schedules(ledger).list()}
    assert schedules.keys() == {"nightly", "asleep"}
    assert (schedules["nightly"].timezone, schedules["nightly"].payload) == ("Europe/Berlin", b'{"kind": "day"}')
    assert schedules["nightly"].next_run_at is not None
    assert (schedules["asleep"].is_active, schedules["asleep"].next_run_at) == (False, None)
    assert schedules["asleep"].metadata["imported_id"]


def test_again_it_adds_nothing_also_after_the_keys_of_others_are_gone(run, put, old_tables, ledger: Ledger):
    old_tables.execute(DEAD)
    old_tables.execute(SCHEDULES)
    put(old_job("a"), old_job("b", state="dead"))
    reported(run("-o", "json"), exit_code=4)
    before = imported(ledger)
    with ledger.database.connection() as connection:
        connection.execute("delete from ledger.idempotency_keys where created_at < now() + interval '1 year'")
    put(old_job("a", state="processing", retry_count=2), old_job("c"))
    report = reported(run("-o", "json"), exit_code=4)
    assert [report[kind]["imported"] for kind in ("jobs", "dead_letters", "schedules")] == [1, 0, 0]
    assert imported(ledger).keys() == {*before, "c"}


def test_two_at_once_take_each_job_once(put, ledger: Ledger, database: str, redis_url: str):
    put(*(old_job(f"n{number}") for number in range(600)))
    environment = {"DATABASE_URL": database, "REDIS_URL": redis_url, "SOURCE_REDIS_URL": redis_url}
    command = [sys.executable, "-m", "ledger", "import", "job-queue", "-o", "json"]
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(2)]
    reports = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert [report["jobs"]["found"] for report in reports] == [600, 600]
    assert len(imported(ledger)) == 600


def test_a_dry_run_changes_nothing(run, put, old_tables, old_redis: redis.Redis, ledger: Ledger):
    old_tables.execute(SCHEDULES)
    put(old_job("a"), old_job("b", type="no good"))
    report = reported(run("--dry-run", "-o", "json"), exit_code=4)
    assert report["dry_run"]
    assert (report["jobs"]["imported"], report["schedules"]["imported"]) == (1, 2)
    assert {each["id"] for each in report["refused"]} == {"job:b", "broken"}
    assert not imported(ledger)
    assert not Schedules(ledger).list()


def test_the_source_is_left_as_it_was(run, put, old_tables, old_redis: redis.Redis):
    old_tables.execute(DEAD)
    put(old_job("a"), old_job("b", state="scheduled"))
    old_redis.zadd("delayed", {"b": 1})
    before = {key: old_redis.dump(key) for key in old_redis.keys("*")}
    reported(run("-o", "json"))
    assert {key: old_redis.dump(key) for key in before} == before
    assert old_tables.execute("select count(*) from dead_letter_queue").fetchone() == (3,)


def test_what_cannot_be_taken_is_named_and_stops_nothing(run, put, old_redis: redis.Redis, ledger: Ledger):
    put(
        old_job("good"),
        old_job("list", payload=[1]),
        old_job("far", state="scheduled"),
        old_job("queue", queue="no good"),
        old_job("retries", max_retries=-1),
    )
    old_redis.zadd("delayed", {"far": FUTURE})
    old_redis.set("job:garbled", "{")
    old_redis.hset("job:hash", "a", "b")
    report = reported(run("-o", "json"), exit_code=4)
    assert {each["id"] for each in report["refused"]} == {
        "job:list", "job:far", "job:queue", "job:retries", "job:garbled",
    }  # fmt: skip
    assert imported(ledger).keys() == {"good"}
    told = run()
    assert "job:garbled" in told.stdout
    assert "5 could not be taken over" in told.stderr


def test_either_server_may_be_absent(run, put, ledger: Ledger):
    put(old_job("a"))
    assert reported(run("-o", "json", SOURCE_DATABASE_URL=None))["jobs"]["imported"] == 1
    assert reported(run("-o", "json", SOURCE_REDIS_URL=None))["jobs"]["found"] == 0
    nothing = run(SOURCE_DATABASE_URL=None, SOURCE_REDIS_URL=None)
    assert nothing.exit_code == 2
    assert "SOURCE_REDIS_URL" in nothing.stderr


@pytest.mark.parametrize(
    "missing",
    [
        {"SOURCE_REDIS_URL": "redis://:hush@127.0.0.1:1"},
        {"SOURCE_DATABASE_URL": "postgresql://old:hush@127.0.0.1:1/old"},
    ],
)
def test_a_source_that_does_not_answer(run, missing: dict[str, str]):
    result = run(**missing)
    assert result.exit_code == 5
    assert "127.0.0.1:1" in result.stderr
    assert "hush" not in result.output


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"SOURCE_REDIS_URL": "http://:hush@h"}, "SOURCE_REDIS_URL: must begin with redis://"),
        ({"SOURCE_DATABASE_URL": "mysql://old:hush@h/old"}, "SOURCE_DATABASE_URL: must begin with postgresql://"),
        ({"SOURCE_REDIS_URL": ""}, "SOURCE_REDIS_URL: must begin with redis://"),
    ],
)
def test_a_source_that_is_none_is_a_bad_value(run, wrong: dict[str, str], words: str):
    result = run(**wrong)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert "hush" not in result.output
