"""The verifier: nothing to say about a healthy system, and each seeded bug is found by the check that is for it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import orjson
import psycopg
import pytest
import redis
from click.testing import CliRunner
from ledger_projections import stream_check
from ledger_projections.dispatch import Dispatcher
from ledger_projections.verify import LOG_CHECKS, verify

from ledger import ids, keys
from ledger.cli import main
from ledger.errors import Unavailable
from ledger.events import Enqueued, Priority, Request
from ledger.log import Append
from ledger.postgres import append_on
from tests.support.lives import fold_all

if TYPE_CHECKING:
    from ledger.runtime.database import Database


@pytest.fixture(autouse=True)
def short_pause(monkeypatch):
    monkeypatch.setattr(stream_check, "PAUSE", 0.05)


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield client


class System:
    """A log with its read models and Redis, and the tools to break each of them."""

    def __init__(self, database: str, pool: Database, redis_url: str) -> None:
        self.database, self.pool, self.redis_url = database, pool, redis_url
        self.dispatcher = Dispatcher(pool, redis_url)
        self.dispatcher.prepare()
        fold_all(pool)

    def settle(self) -> None:
        fold_all(self.pool)
        for _ in range(10):
            self.dispatcher.run_once()

    def corrupt(self, sql: str, *parameters: object) -> None:
        """Change what nobody may change: as a superuser who switches the triggers off."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            connection.execute("set session_replication_role = replica")
            assert connection.execute(sql, parameters).rowcount > 0, "nothing was corrupted"

    def found(self, *, with_redis: bool = False) -> dict[str, list[tuple[str, str, str]]]:
        checks = verify(self.pool, self.redis_url if with_redis else None, max_crashes=3)
        return {
            check.name: [(d.subject, d.expected, d.found) for d in check.differences]
            for check in checks
            if check.differing
        }


@pytest.fixture
def system(database, pool, redis_url):
    system = System(database, pool, redis_url)
    yield system
    system.dispatcher.close()


@pytest.fixture
def ran(lives):
    """A job that failed once, ran again and succeeded: 1 enqueued, 2 leased, 3 failed, 4 retried, 5 enqueued, 6 leased,
    7 succeeded.
    """
    job_id = lives.enqueue()
    lives.lease(job_id)
    lives.fail(job_id)
    lives.make_due(job_id)
    lives.run(job_id)
    return job_id


def insert(
    system: System, job_id: UUID, version: int, kind: str, data: object = None, actor: str = "worker:w1"
) -> None:
    system.corrupt(
        "insert into ledger.events (job_id, version, kind, queue, priority, actor, data) "
        "values (%s, %s, %s, 'mail', 2, %s, %s)",
        job_id, version, kind, actor, orjson.dumps(data or {}).decode(),
    )  # fmt: skip


def subjects(found) -> dict[str, set[str]]:
    return {name: {subject for subject, _, _ in differences} for name, differences in found.items()}


def test_nothing_is_found_in_healthy_lives(system, lives):
    made = [lives.enqueue(queue=f"q{n % 3}", priority=Priority(n % 4)) for n in range(40)]
    for _ in range(10):
        for job_id in made:
            lives.step(job_id)
        system.settle()
    lives.die(lives.enqueue())
    lives.enqueue()
    system.settle()
    checks = {check.name: check for check in verify(system.pool, system.redis_url, max_crashes=3)}
    assert {name: check.differences for name, check in checks.items() if check.differing} == {}
    assert checks["jobs"].checked == 42
    assert {*LOG_CHECKS, "jobs", "dead_letters", "attempts", "queue_stats", "redis"} == set(checks)
    assert all(check.checked > 0 for check in checks.values())


def test_without_read_models_the_verifier_says_what_to_start(pool):
    with pytest.raises(Unavailable, match="ledger projector"):
        verify(pool, None, max_crashes=3)


def test_read_models_behind_the_log_are_compared_as_far_as_they_have_read(system, lives, ran):
    system.settle()
    lives.enqueue()
    assert system.found() == {}


def test_what_a_cursor_has_left_as_a_hole_is_left_out(system, lives, database):
    job_id = ids.mint()
    opened = Append(
        job_id=job_id, events=(Enqueued(request=Request(type="x")),), queue="q", priority=Priority.LOW, actor="t"
    )
    with psycopg.connect(database) as open_:
        append_on(open_, [opened])
        lives.enqueue()
        fold_all(system.pool)
        open_.commit()
    assert system.found() == {}


def test_a_parked_job_is_left_out(system, ran, database):
    system.settle()
    with psycopg.connect(database, autocommit=True) as connection:
        for projection in ("jobs", "attempts", "queue_stats", "dead_letters"):
            connection.execute("insert into ledger.parked values (%s, %s, 1, 'poison')", [projection, ran])
            connection.execute("delete from ledger_read.jobs")
            connection.execute("truncate ledger_read.attempts, ledger_read.attempt_minutes")
            connection.execute("truncate ledger_read.queue_counts, ledger_read.queue_minutes")
            connection.execute("truncate ledger_read.queue_histograms")
    assert system.found() == {}


# --- the log ---------------------------------------------------------------------------------------------------------


def test_a_hole_in_the_versions(system, ran):
    system.corrupt("delete from ledger.events where job_id = %s and version = 4", ran)
    assert f"{ran}:5" in subjects(system.found())["log: steps"]


def test_a_job_from_nowhere(system):
    job_id = ids.mint()
    insert(system, job_id, 1, "leased", {"worker_id": "w1", "attempt": 1, "nonce": "n"})
    assert system.found()["log: steps"] == [(f"{job_id}:1", "a kind that may follow nothing", "leased")]


def test_a_position_that_falls(system, ran):
    system.corrupt("update ledger.events set position = 0 where job_id = %s and version = 5", ran)
    assert subjects(system.found())["log: steps"] == {f"{ran}:5"}


def test_a_second_end(system, ran):
    insert(system, ran, 8, "cancelled", {"cause": "requested"}, "cli:x")
    assert system.found()["log: ends"] == [(f"{ran}:7", "nothing after succeeded", "cancelled")]


def test_a_failure_without_a_consequence(system, lives):
    job_id = lives.enqueue()
    lives.lease(job_id)
    lives.fail(job_id)
    system.corrupt("delete from ledger.events where job_id = %s and version = 4", job_id)
    assert subjects(system.found())["log: ends"] == {f"{job_id}:3"}


def test_a_consequence_by_somebody_else(system, ran):
    system.corrupt("update ledger.events set actor = 'cli:x' where job_id = %s and version = 4", ran)
    assert subjects(system.found())["log: ends"] == {f"{ran}:3"}


def test_a_token_used_again(system, ran):
    system.corrupt(
        "update ledger.events set data = (select f.data from ledger.events f where f.job_id = %s and f.version = 2) "
        "where job_id = %s and version = 6",
        ran, ran,
    )  # fmt: skip
    assert subjects(system.found())["log: nonces"] == {f"{ran}:2"}


def test_a_zombies_outcome_under_an_old_token(system, ran):
    system.corrupt("update ledger.events set actor = 'worker:zombie' where job_id = %s and version = 7", ran)
    assert system.found()["log: outcomes"] == [
        (f"{ran}:7", "succeeded right after the lease of worker:zombie", "the lease is of worker:w1")
    ]


def test_an_outcome_over_a_lease_that_is_gone(system, ran):
    system.corrupt("delete from ledger.events where job_id = %s and version = 6", ran)
    assert subjects(system.found())["log: outcomes"] == {f"{ran}:7"}


def test_two_open_leases(system, lives):
    job_id = lives.enqueue()
    lives.lease(job_id)
    insert(system, job_id, 3, "leased", {"worker_id": "w2", "attempt": 2, "nonce": "other"})
    assert subjects(system.found())["log: leases"] == {f"{job_id}:3"}


def test_an_attempt_that_was_not_counted(system, ran):
    system.corrupt(
        "update ledger.events set data = jsonb_set(data::jsonb, '{attempt}', '1')::json "
        "where job_id = %s and version = 6",
        ran,
    )
    assert system.found()["log: counts"] == [(f"{ran}:6", "attempt 2", "attempt 1")]


def test_more_failures_than_the_budget(system, lives):
    job_id = lives.enqueue(max_retries=1)
    for _ in range(2):
        lives.lease(job_id)
        lives.fail(job_id)
        if lives.job(job_id).run_at:
            lives.make_due(job_id)
    assert system.found() == {}
    system.corrupt(
        "update ledger.events set data = jsonb_set(data::jsonb, '{max_retries}', '0')::json "
        "where job_id = %s and version = 1",
        job_id,
    )
    assert [found for _, _, found in system.found()["log: counts"]] == ["2 failures"]


def test_a_lease_that_expired_before_its_run_began_is_no_crash(system, lives):
    for blame in (lives.release, lives.crash):
        job_id = lives.enqueue()
        lives.lease(job_id)
        lives.release(job_id, "lease_expired")
        lives.lease(job_id)
        blame(job_id)
    system.settle()
    assert system.found() == {}


def test_crashes_miscounted_or_too_many(system, lives):
    job_id = lives.enqueue()
    for _ in range(2):
        lives.lease(job_id)
        lives.crash(job_id)
    assert system.found() == {}
    (check,) = (check for check in verify(system.pool, None, max_crashes=1) if check.name == "log: counts")
    assert [(d.expected, d.found) for d in check.differences] == [("at most 1 crashes", "2 crashes")]
    system.corrupt(
        "update ledger.events set data = jsonb_set(data::jsonb, '{crash_count}', '7')::json "
        "where job_id = %s and version = 5",
        job_id,
    )
    assert ("crash_count 2", "crash_count 7") in [(e, f) for _, e, f in system.found()["log: counts"]]


def test_an_event_that_cannot_be_read(system, ran):
    system.settle()
    system.corrupt("""update ledger.events set data = '{"attempt": "one"}' where job_id = %s and version = 6""", ran)
    assert subjects(system.found())["jobs"] == {str(ran)}


# --- the read models -------------------------------------------------------------------------------------------------


def test_an_event_that_jobs_skipped(system, lives, ran):
    other = lives.enqueue()
    system.settle()
    system.corrupt("update ledger_read.jobs set state = 'running', version = 6 where job_id = %s", ran)
    system.corrupt("delete from ledger_read.jobs where job_id = %s", other)
    system.corrupt("update ledger.cursors set young_holes = '{}' where projection = 'jobs'")
    found = {subject: (expected, said) for subject, expected, said in system.found()["jobs"]}
    assert found == {
        str(ran): ("state succeeded, version 7", "state running, version 6"),
        str(other): ("a row", "no row"),
    }


@pytest.mark.parametrize("place", ["min", "max"])
def test_a_job_that_only_the_read_model_knows(system, lives, ran, place):
    stranger = UUID(int=1) if place == "min" else UUID(int=(1 << 128) - 1)
    system.settle()
    system.corrupt("update ledger_read.jobs set job_id = %s where job_id = %s", stranger, ran)
    assert set(system.found()["jobs"]) == {(str(ran), "a row", "no row"), (str(stranger), "no row", "a row")}


def test_dead_letters_that_are_gone_changed_or_left_over(system, lives):
    gone, changed, left = (lives.enqueue() for _ in range(3))
    for job_id in (gone, changed, left):
        lives.die(job_id)
    system.settle()
    lives.retry(left)
    system.corrupt("delete from ledger_read.dead_letters where job_id = %s", gone)
    system.corrupt("update ledger_read.dead_letters set error_message = 'nice' where job_id = %s", changed)
    system.corrupt("update ledger.cursors set high = high + 2 where projection = 'dead_letters'")
    assert set(system.found()["dead_letters"]) == {
        (str(gone), "a row", "no row"),
        (str(changed), "error_message no such address", "error_message nice"),
        (str(left), "no row", "a row"),
    }


def test_attempts_left_running_or_invented(system, ran):
    system.settle()
    system.corrupt("update ledger_read.attempts set state = 'running' where job_id = %s and lease_version = 6", ran)
    system.corrupt("update ledger_read.attempts set lease_version = 3 where job_id = %s and lease_version = 2", ran)
    assert subjects(system.found())["attempts"] == {f"{ran}:2", f"{ran}:3", f"{ran}:6"}


@pytest.mark.parametrize(
    "sql",
    [
        "update ledger_read.attempt_minutes set failed = failed + 1, succeeded = succeeded - 1",
        "delete from ledger_read.attempt_minutes",
    ],
)
def test_counts_of_runs_that_are_not_those_of_the_log(system, ran, sql):
    system.settle()
    system.corrupt(sql)
    assert {subject.partition(" in ")[0] for subject in subjects(system.found())["attempts"]} == {"runs that began"}


@pytest.mark.parametrize(
    "sql",
    [
        "update ledger_read.queue_counts set count = count + 1 where state = 'ready'",
        "delete from ledger_read.queue_minutes",
        "update ledger_read.queue_minutes set failed = failed + 1",
        "update ledger_read.queue_histograms set count = count + 1 where measure = 'wait'",
        "delete from ledger_read.queue_histograms where measure = 'run'",
    ],
)
def test_statistics_that_are_off(system, lives, ran, sql):
    lives.enqueue()
    system.settle()
    assert system.found() == {}
    system.corrupt(sql)
    assert set(system.found()) == {"queue_stats"}


# --- Redis -----------------------------------------------------------------------------------------------------------


def test_a_ready_job_without_a_message(system, lives, client):
    job_id, other = lives.enqueue(), lives.enqueue()
    system.settle()
    stream = keys.stream("mail", Priority.MEDIUM)
    assert system.found(with_redis=True) == {}
    (first, _), _ = client.xrange(stream)
    client.xdel(stream, first)
    client.xadd(keys.stream("mail", Priority.LOW), {"job": str(job_id), "version": 1, "type": "x"})
    expected = (f"{job_id}:1", f"a message on {stream}", "no message")
    assert system.found(with_redis=True) == {"redis": [expected]}, "a message on another's stream does not count"
    client.delete(stream)
    assert subjects(system.found(with_redis=True)) == {"redis": {f"{job_id}:1", f"{other}:1"}}


def test_a_message_that_was_made_up(system, lives, client):
    job_id = lives.enqueue()
    system.settle()
    stream = keys.stream("mail", Priority.MEDIUM)
    client.xadd(stream, {"job": str(job_id), "version": 9, "type": "x"})
    client.xadd(stream, {"job": "nonsense", "version": 1, "type": "x"})
    expected = (f"{job_id}:9", "no message: it was never ready at that version", f"a message on {stream}")
    assert system.found(with_redis=True) == {"redis": [expected]}


def test_a_message_of_a_job_that_has_moved_on_is_no_difference(system, lives):
    job_id = lives.enqueue()
    system.settle()
    lives.cancel(job_id)
    assert system.found(with_redis=True) == {}


def test_what_is_on_its_way_at_the_first_look_is_no_difference(system, lives, monkeypatch):
    lives.enqueue()
    fold_all(system.pool)

    class Pause:
        def wait(self, _seconds):
            system.settle()

    monkeypatch.setattr(stream_check.threading, "Event", Pause)
    assert system.found(with_redis=True) == {}


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_shows_each_difference_and_exits_1(system, ran, monkeypatch):
    system.settle()
    monkeypatch.setenv("DATABASE_URL", system.database)
    monkeypatch.setenv("REDIS_URL", system.redis_url)
    healthy = CliRunner().invoke(main, ["verify"])
    assert healthy.exit_code == 0, healthy.output
    assert "no differences" in healthy.stderr
    system.corrupt("update ledger_read.jobs set state = 'lost' where job_id = %s", ran)
    broken = CliRunner().invoke(main, ["verify"])
    assert broken.exit_code == 1
    assert all(word in broken.stdout for word in (str(ran), "state succeeded", "state lost"))
    shown = orjson.loads(CliRunner().invoke(main, ["verify", "-o", "json"]).stdout)
    (jobs,) = (check for check in shown if check["name"] == "jobs")
    assert jobs["differing"] == len(jobs["differences"]) == 1
