"""The write door: a job exists exactly if its transaction commits, one a key, and its verbs obey the rules."""

from __future__ import annotations

import threading
from datetime import timedelta
from random import Random

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from ledger import (
    CommandRefused,
    IdempotencyConflict,
    InvalidRequest,
    Job,
    JobNotFound,
    Ledger,
    Unavailable,
    VersionConflict,
    commands,
)
from ledger.errors import JobExists
from ledger.events import Failed, Kind, Leased
from ledger.handlers import Token, current_job
from ledger.job import State
from ledger.log import Lease
from ledger.runtime.database import sqlalchemy_url


@pytest.fixture
def app(database, redis_url):
    ledger = Ledger(database_url=database, redis_url=redis_url)
    yield ledger
    ledger.close()


@pytest.fixture
def send(app):
    @app.job("email.send", queue="mail", priority="high", max_retries=5, timeout="30s")
    def send_email(job: Job, to: str, subject: str = "(none)") -> dict:
        return {"to": to, "subject": subject}

    return send_email


def exists(app, job_id) -> bool:
    try:
        app.get(job_id)
    except JobNotFound:
        return False
    return True


def dead_job(app):
    """Drive a job to the dead-letter queue by the rules alone."""
    job_id = app.enqueue("report.build", {"day": 1}, max_retries=0)
    app.log.lease([Lease(job_id, 1, "nonce")], "w1")
    return app.command(
        job_id, lambda job, now: commands.fail(job, Failed("ValueError", "no"), now, Random(1)), actor="worker:w1"
    )


def test_the_decorators_options_are_the_defaults_of_its_own_enqueue(app, send):
    job = app.get(send.enqueue(to="a@b.c", priority="low"))
    assert (job.type, job.queue, job.priority.word, job.max_retries) == ("email.send", "mail", "low", 5)
    assert job.request.timeout_seconds == 30
    assert job.payload == {"to": "a@b.c"}
    assert job.state == "ready"


def test_a_decorated_function_stays_callable(send):
    assert send(None, to="x") == {"to": "x", "subject": "(none)"}


@pytest.mark.parametrize("arguments", [{}, {"to": 3}, {"to": "a", "cc": "b"}])
def test_a_wrong_argument_is_the_callers_error_and_leaves_nothing(app, send, arguments):
    with pytest.raises(InvalidRequest):
        send.enqueue(**arguments)
    with app.database.connection() as connection:
        assert connection.execute("select count(*) from ledger.events").fetchone() == (0,)


def test_all_breaches_are_named_at_once(app):
    with pytest.raises(InvalidRequest) as refused:
        app.enqueue("", {}, priority="urgent", delay="1d", retry={"base": "2h", "max": "1h"}, max_retries=-1)
    assert {breach.pointer for breach in refused.value.breaches} == {
        "/type",
        "/priority",
        "/delay",
        "/retry/base",
        "/max_retries",
    }


def test_schedule_waits_and_never_runs_early(app, send):
    job = app.get(send.schedule(to="a", delay=timedelta(hours=1)))
    assert job.state is State.SCHEDULED
    assert timedelta(minutes=59) < job.run_at - job.created_at <= timedelta(hours=1, seconds=1)
    with pytest.raises(InvalidRequest):
        send.schedule(to="a")


@pytest.mark.parametrize("commits", [True, False])
def test_a_psycopg_transaction_decides(app, send, database, commits):
    with psycopg.connect(database) as connection:
        job_id = send.enqueue(to="a", connection=connection)
        assert not exists(app, job_id)
        assert app.history(job_id, connection=connection)
        connection.commit() if commits else connection.rollback()
    assert exists(app, job_id) is commits


@pytest.mark.parametrize("commits", [True, False])
def test_a_sqlalchemy_connection_decides(app, send, database, commits):
    engine = sa.create_engine(sqlalchemy_url(database), poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("create table orders (id int)"))
        connection.execute(sa.text("insert into orders values (1)"))
        job_id = send.enqueue(to="a", connection=connection)
        connection.commit() if commits else connection.rollback()
    assert exists(app, job_id) is commits


@pytest.mark.parametrize("commits", [True, False])
def test_a_sqlalchemy_session_decides_also_when_the_job_is_all_it_does(app, send, database, commits):
    engine = sa.create_engine(sqlalchemy_url(database), poolclass=sa.NullPool)
    with Session(engine) as session:
        job_id = send.enqueue(to="a", connection=session)
        session.commit() if commits else session.rollback()
    assert exists(app, job_id) is commits


def test_a_savepoint_rolled_back_takes_its_job_along(app, send, database):
    engine = sa.create_engine(sqlalchemy_url(database), poolclass=sa.NullPool)
    with Session(engine) as session:
        kept = send.enqueue(to="a", connection=session)
        savepoint = session.begin_nested()
        lost = send.enqueue(to="b", connection=session)
        savepoint.rollback()
        session.commit()
    assert (exists(app, kept), exists(app, lost)) == (True, False)


def test_another_kind_of_connection_is_refused_by_name(send):
    with pytest.raises(TypeError, match="psycopg connection"):
        send.enqueue(to="a", connection=object())


def test_enqueue_many_is_all_or_none_and_keeps_the_order(app):
    wanted = [{"type": "a", "payload": {"n": n}, "queue": "q"} for n in range(2500)]
    made = app.enqueue_many(wanted)
    assert [app.get(made[n]).payload for n in (0, 1999, 2000, 2499)] == [{"n": n} for n in (0, 1999, 2000, 2499)]
    with pytest.raises(InvalidRequest) as refused:
        app.enqueue_many([{"type": "a"}, {"type": "a", "priority": "x"}])
    assert [breach.pointer for breach in refused.value.breaches] == ["/1/priority"]
    with app.database.connection() as connection:
        assert connection.execute("select count(*) from ledger.events").fetchone() == (2500,)


def test_t7_one_idempotency_key_many_requests_at_once(app):
    made = []
    threads = [
        threading.Thread(target=lambda: made.append(app.enqueue("a", {"x": 1}, idempotency_key="order-7")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1
    assert len(app.history(made[0])) == 1


def test_the_same_key_with_another_request_is_refused(app):
    app.enqueue("a", {"x": 1}, idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        app.enqueue("a", {"x": 2}, idempotency_key="k")


def test_a_key_whose_transaction_rolled_back_was_never_used(app, database):
    with psycopg.connect(database) as connection:
        lost = app.enqueue("a", {"x": 1}, idempotency_key="k", connection=connection)
        connection.rollback()
    made = app.enqueue("a", {"x": 2}, idempotency_key="k")
    assert made != lost
    assert not exists(app, lost)


def test_a_taken_id_is_refused(app):
    job_id = app.enqueue("a", {})
    with pytest.raises(JobExists):
        app.enqueue("a", {}, job_id=job_id)


@pytest.mark.parametrize("reason", ["x" * 501, "a\0b", "\ud800", 5])
def test_a_reason_that_cannot_be_kept_is_refused_by_every_verb(app, reason):
    job_id = app.enqueue("a", delay="1h")
    for verb in (app.cancel, app.run_now, app.retry, app.discard):
        with pytest.raises(InvalidRequest, match="reason: must be a string of at most 500"):
            verb(job_id, reason=reason)
    assert len(app.history(job_id)) == 1
    assert app.cancel(job_id, reason="x" * 500).state == "cancelled"


def test_cancel_twice_is_one_event_with_actor_and_reason(app):
    job_id = app.enqueue("a", {})
    app.cancel(job_id, reason="not wanted", actor="cli:eve")
    assert app.cancel(job_id).version == 2
    last = app.history(job_id)[-1]
    assert (last.kind, last.actor, last.event.reason, last.event.cause) == (
        Kind.CANCELLED,
        "cli:eve",
        "not wanted",
        "requested",
    )


def test_retry_gives_a_dead_job_a_new_budget_once(app):
    dead = dead_job(app)
    assert dead.state is State.DEAD
    job = app.retry(dead.id, reason="fixed")
    assert (job.state, job.retry_count, job.attempt, job.requeue_count) == (State.READY, 0, 1, 1)
    with pytest.raises(CommandRefused):
        app.retry(dead.id)


def test_a_verb_on_a_version_seen_is_refused_when_the_job_has_moved_on(app):
    job_id = app.enqueue("a", {})
    app.log.lease([Lease(job_id, 1, "n")], "w1")
    with pytest.raises(VersionConflict):
        app.cancel(job_id, if_version=1)
    assert isinstance(app.history(job_id)[-1].event, Leased)


def test_a_verb_that_meets_an_open_transaction_waits_for_its_end(app, database):
    job_id = app.enqueue("a", {})
    with psycopg.connect(database) as connection:
        app.cancel(job_id, connection=connection)
        seen = []
        thread = threading.Thread(target=lambda: seen.append(app.cancel(job_id)))
        thread.start()
        thread.join(timeout=0.3)
        assert thread.is_alive()
        connection.commit()
    thread.join(timeout=10)
    assert [job.version for job in seen] == [2]


def test_without_postgres_the_client_says_unavailable(redis_url):
    ledger = Ledger(database_url="postgresql://ledger@127.0.0.1:1/ledger", redis_url=redis_url)
    ledger.database._pool.timeout = 0.5
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        ledger.enqueue("a", {})
    ledger.close()


def test_without_redis_enqueueing_works(database):
    ledger = Ledger(database_url=database, redis_url="redis://127.0.0.1:1/0")
    assert ledger.get(ledger.enqueue("a", {})).state == "ready"
    ledger.close()


def test_what_a_handler_enqueues_says_which_run_caused_it(app):
    job_id = app.enqueue("parent", {})
    running = Job(
        id=job_id, type="parent", body=b"{}", queue="default", priority="medium", attempt=1, retry_count=0,
        max_retries=3, timeout=timedelta(minutes=5), metadata={}, token=Token(job_id, 2), correlation_id=str(job_id),
        worker_id="host-1",
    )  # fmt: skip
    token = current_job.set(running)
    try:
        child = app.enqueue("child", {})
    finally:
        current_job.reset(token)
    (first,) = app.history(child)
    assert (first.actor, first.trace.correlation_id, first.trace.causation_id) == (
        "worker:host-1",
        str(job_id),
        f"{job_id}:2",
    )
