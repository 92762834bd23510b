"""Why a job is not running: each reason, on real servers, with what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson
import pytest
from click.testing import CliRunner
from ledger_projections.why import Why, why
from ledger_workers.heartbeat import Beat, Heartbeat

from ledger import keys, pauses
from ledger.cli import main
from ledger.events import Priority
from ledger.message import Message
from ledger.runtime import redis
from ledger.runtime.database import Database
from tests.support.dispatching import dispatching, drain, hurry
from tests.support.lives import FAILURE, WORKER, fold_all
from tests.support.working import ledger_on, until, working

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from tests.support.lives import Lives

NOBODY = "redis://127.0.0.1:1/0"

Ask = Callable[..., Why]


@pytest.fixture
def ask(pool: Database, lives: Lives, redis_url: str) -> Ask:
    def answer(job_id: UUID, *, url: str = redis_url, silent_after: timedelta = timedelta(seconds=30)) -> Why:
        return why(pool, url, lives.log.history(job_id), silent_after=silent_after)

    return answer


def codes(answer: Why) -> list[str]:
    return [reason.code for reason in answer.reasons]


def beat(pool: Database, *queues: str, worker: str = WORKER, concurrency: int = 2, running: int = 0) -> None:
    Heartbeat(pool, queues, concurrency).beat([Beat(worker, 1, running, stopping=False)])


@contextmanager
def connected(database: str, name: str) -> Iterator[None]:
    """Have a service of this name on the list of connections."""
    service = Database(database, name=name)
    with service.connection():
        yield
    service.close()


def at_last(ask: Ask, job_id: UUID, code: str, **how) -> Why:
    """Ask until this is the first reason: what is only a moment old needs none."""
    return until(lambda: (answer := ask(job_id, **how)).reasons[0].code == code and answer)


def test_a_job_that_has_ended_says_how_and_by_whom(ask: Ask, lives: Lives):
    done, cancelled = lives.enqueue(), lives.enqueue()
    lives.run(done)
    lives.cancel(cancelled)
    assert "succeeded" in ask(done).reasons[0].detail
    assert "by cli:test" in ask(cancelled).reasons[0].detail
    assert codes(ask(done)) == codes(ask(cancelled)) == ["ended"]


def test_a_dead_job_says_of_what_and_how_to_go_on(ask: Ask, lives: Lives):
    job_id = lives.enqueue()
    lives.die(job_id)
    (reason,) = ask(job_id).reasons
    assert (reason.code, FAILURE.error_message in reason.detail) == ("dead", True)
    assert "permanent, after 1 run" in reason.detail
    assert f"ledger dlq retry {job_id}" in (reason.advice or "")


def test_a_job_that_waits_for_its_time(ask: Ask, lives: Lives):
    scheduled, failed = lives.enqueue(delay=timedelta(minutes=5)), lives.enqueue()
    lives.lease(failed)
    lives.fail(failed)
    (due,), (again,) = ask(scheduled).reasons, ask(failed).reasons
    assert (due.code, again.code) == ("due", "due")
    assert due.detail.startswith("it is due in ")
    assert f"ledger job run-now {scheduled}" in (due.advice or "")
    assert "after ValueError: retry 1 of 3" in again.detail


def test_nobody_makes_it_ready_without_a_scheduler(ask: Ask, lives: Lives, pool: Database, database: str):
    job_id = lives.enqueue(delay=timedelta(milliseconds=1))
    assert "ledger scheduler" in (at_last(ask, job_id, "no_scheduler").reasons[0].advice or "")
    with connected(database, "ledger-scheduler"):
        assert codes(ask(job_id)) == ["read_model_behind"]
        fold_all(pool)
        assert codes(ask(job_id)) == ["overdue"]


def test_a_running_job_and_one_whose_worker_fell_silent(ask: Ask, lives: Lives, pool: Database, database: str):
    job_id = lives.enqueue()
    lives.lease(job_id)
    assert "not on record" in ask(job_id).reasons[0].detail
    beat(pool, "mail")
    assert f"on worker {WORKER}, attempt 1" in ask(job_id).reasons[0].detail
    silent = at_last(ask, job_id, "worker_silent", silent_after=timedelta(milliseconds=1))
    assert "start `ledger scheduler`" in (silent.reasons[0].advice or "")
    with connected(database, "ledger-scheduler"):
        advice = ask(job_id, silent_after=timedelta(milliseconds=1)).reasons[0].advice
        assert "SCHEDULER_STALE_JOB_TIMEOUT" in (advice or "")


def test_a_paused_queue_says_by_whom_and_why(ask: Ask, lives: Lives, pool: Database):
    job_id = lives.enqueue()
    beat(pool, "mail")
    pauses.pause(pool, "mail", actor="api:ops", reason="the mail server is ill")
    (reason,) = ask(job_id).reasons
    assert (reason.code, reason.advice) == ("paused", "`ledger queue resume mail`")
    assert 'by api:ops: "the mail server is ill"' in reason.detail


def test_no_live_worker_takes_the_queue(ask: Ask, lives: Lives, pool: Database):
    job_id = lives.enqueue()
    (nobody,) = ask(job_id).reasons
    beat(pool, "default")
    (others,) = ask(job_id).reasons
    assert (nobody.detail, nobody.code) == ("no live worker takes queue mail", "no_worker")
    assert others.detail == "no live worker takes queue mail; other queues have 1 worker"
    Heartbeat(pool, ["mail"], 2).beat([Beat("w2", 1, 0, stopping=True)])
    assert codes(ask(job_id)) == ["no_worker"]
    assert "--queues mail" in (others.advice or "")


def test_dispatch_that_is_behind_or_was_never_there(
    ask: Ask, lives: Lives, pool: Database, database: str, redis_url: str
):
    first = lives.enqueue()
    beat(pool, "mail")
    assert "none yet" in at_last(ask, first, "dispatch_behind").reasons[0].detail
    fold_all(pool)
    with dispatching(database, redis_url) as dispatcher:
        assert codes(ask(first)) == ["nothing"]
        second = lives.enqueue(priority=Priority.CRITICAL)
        behind = at_last(ask, second, "dispatch_behind").reasons[0]
        assert "1 event short" in behind.detail
        assert behind.advice == "start `ledger projector`"
        with connected(database, "ledger-projector"):
            assert "projector's log" in (ask(second).reasons[0].advice or "")
        drain(dispatcher)
        fold_all(pool)
        assert codes(ask(second)) == ["nothing"]


def test_others_that_go_first(ask: Ask, lives: Lives, pool: Database, database: str, redis_url: str):
    critical = lives.enqueue(priority=Priority.CRITICAL)
    job_id, later = lives.enqueue(), lives.enqueue()
    lives.enqueue(queue="urgent")
    beat(pool, "urgent", "mail", running=1)
    fold_all(pool)
    with dispatching(database, redis_url):
        behind, elsewhere = ask(job_id).reasons
        assert (behind.code, elsewhere.code) == ("behind_others", "other_queues_first")
        assert behind.detail == "1 job before it in queue mail, with 1 of 2 slots busy"
        assert elsewhere.detail == "1 job in queues that its workers may take first: urgent"
        assert ask(later).reasons[0].detail.startswith("2 jobs before it")
        beat(pool, "urgent", "mail", running=2)
        assert codes(ask(critical)) == ["slots_busy", "other_queues_first"]


def test_redis_that_is_away(ask: Ask, lives: Lives, pool: Database, database: str, redis_url: str):
    job_id = lives.enqueue()
    beat(pool, "mail")
    fold_all(pool)
    with dispatching(database, redis_url):
        answer = at_last(ask, job_id, "redis_unavailable", url=NOBODY)
    assert "more slowly" in answer.reasons[0].detail


def test_workers_that_do_not_know_its_type(ask: Ask, lives: Lives, pool: Database, database: str, redis_url: str):
    strange, known = lives.enqueue("nobody.knows", queue="default"), lives.enqueue("add", queue="paused")
    with ledger_on(database, redis_url) as ledger, dispatching(database, redis_url) as dispatcher, working(ledger):
        beat(pool, "default", worker="w-1")
        fold_all(pool)
        hurry(dispatcher)
        (reason,) = at_last(ask, strange, "unknown_type").reasons
    assert "do not know type nobody.knows: worker w-1 has its message" in reason.detail
    assert "@ledger.job('nobody.knows')" in (reason.advice or "")
    assert codes(ask(known)) == ["no_worker"]


def test_a_job_that_expires_while_it_waits(ask: Ask, lives: Lives):
    job_id = lives.enqueue(expires_at=lives.log.clock.now() + timedelta(milliseconds=200))
    assert "start `ledger scheduler`" in (at_last(ask, job_id, "expired").reasons[0].advice or "")


def test_a_message_of_an_earlier_wait_says_nothing(
    ask: Ask, lives: Lives, pool: Database, database: str, redis_url: str
):
    job_id = lives.enqueue()
    beat(pool, "mail")
    fold_all(pool)
    client = redis.connect(redis_url)
    with dispatching(database, redis_url):
        stream = keys.stream("mail", Priority.MEDIUM)
        client.xadd(stream, Message(job_id, 7, 1, "email.send").fields())
        client.xreadgroup(keys.GROUP, "elsewhere", {stream: ">"}, count=10)
        assert until(lambda: "has been ready for 2" in ask(job_id).reasons[0].detail)
        assert codes(ask(job_id)) == ["nothing"]  # a worker that is not alive has it: another takes it over
    client.close()


def test_the_command_says_it_in_words_and_as_json(lives: Lives, database: str, redis_url: str):
    runner = CliRunner(env={"DATABASE_URL": database, "REDIS_URL": redis_url})
    job_id = lives.enqueue()
    told = runner.invoke(main, ["job", "why", str(job_id)])
    assert (told.exit_code, told.stderr) == (0, "")
    assert told.stdout.splitlines() == [
        f"job/{job_id} is ready",
        "  no live worker takes queue mail",
        "  → start `ledger worker APP --queues mail`; see `ledger worker list`",
    ]
    answer = orjson.loads(runner.invoke(main, ["job", "why", str(job_id), "-o", "json"]).stdout)
    assert answer.keys() == {"job_id", "state", "reasons"}
    assert (answer["job_id"], answer["state"]) == (str(job_id), "ready")
    assert answer["reasons"][0].keys() == {"code", "detail", "advice"}
    for unknown in ("no-id", "019f7c3e-5a10-7000-8000-000000000000"):
        assert runner.invoke(main, ["job", "why", unknown]).exit_code == 3
