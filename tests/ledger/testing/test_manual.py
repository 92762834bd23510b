"""Manual mode: jobs are kept until they are drained."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from unittest import mock

import pytest

from ledger import CommandRefused, IdempotencyConflict, JobNotFound, Ledger, Snooze, testing
from ledger.errors import JobExists
from ledger.ids import mint
from tests.support.kit_jobs import NOON, Flaky, kinds, register, states


def test_jobs_wait_for_drain(app, send):
    with testing.manual(app) as kit:
        job_id = send.enqueue(to="a")
        assert app.get(job_id).state == "ready"
        assert [job.id for job in kit.drain()] == [job_id]
        assert (app.get(job_id).state, kit.drain()) == ("succeeded", [])


def test_retries_come_when_the_clock_is_advanced_and_end_in_death(app):
    flaky = register(
        app, "flaky", Flaky(9), max_retries=2, retry={"backoff": "constant", "base": "10s", "jitter": "none"}
    )
    with testing.manual(app, clock=testing.FrozenClock(NOON)) as kit:
        job_id = flaky.enqueue()
        seen = []
        for step in ("0s", "9s", "1s", "10s", "1h"):
            kit.clock.advance(step)
            seen.append(states(kit.drain()))
        assert seen == [["retrying"], [], ["retrying"], ["dead"], []]
        at = [entry.at.strftime("%H:%M:%S") for entry in app.history(job_id) if entry.kind == "leased"]
        assert at == ["12:00:00", "12:00:10", "12:00:20"]


def test_drain_may_advance_the_clock_itself(app):
    flaky = register(app, "flaky", Flaky(2))
    with testing.manual(app) as kit:
        began = kit.clock.now()
        flaky.schedule(delay="1h")
        assert states(kit.drain(advance=True)) == ["retrying", "retrying", "succeeded"]
        assert kit.clock.now() - began > timedelta(hours=1)


def test_drain_may_raise_the_first_error_after_all_have_run(app, send):
    flaky = register(app, "flaky", Flaky(2), priority="critical")
    with testing.manual(app) as kit:
        flaky.enqueue()
        send.enqueue(to="a")
        with pytest.raises(ValueError, match="not yet"):
            kit.drain(fail_fast=True)
        assert states(kit.jobs) == ["retrying", "succeeded"]


def test_urgent_jobs_go_first_then_those_that_were_ready_first(app, send):
    with testing.manual(app) as kit:
        for to, priority in (("3", "low"), ("1", "critical"), ("2", "medium"), ("2b", "medium")):
            send.enqueue(to=to, priority=priority)
        assert [job.payload["to"] for job in kit.drain()] == ["1", "2", "2b", "3"]


def test_drain_of_one_queue_leaves_the_others(app, send):
    with testing.manual(app) as kit:
        send.enqueue(to="a")
        send.enqueue(to="b", queue="other")
        assert [job.queue for job in kit.drain(queue="other")] == ["other"]


def test_a_job_going_in_circles_is_found_out(app):
    again = register(app, "again", lambda: Snooze(0))
    with testing.manual(app) as kit:
        again.enqueue()
        with pytest.raises(AssertionError, match="5 runs"):
            kit.drain(most=5)


def test_an_expired_job_is_cancelled(app, send):
    with testing.manual(app) as kit:
        job_id = send.enqueue(to="a", expires_at=kit.clock.now() + timedelta(minutes=1))
        kit.clock.advance("1m")
        assert kit.drain() == []
        assert kinds(app, job_id) == ["enqueued", "cancelled"]


def test_a_type_without_a_handler_stays_ready(app):
    with testing.manual(app) as kit:
        job_id = app.enqueue("of.another.service")
        assert kit.drain() == []
        assert app.get(job_id).state == "ready"


def test_idempotency_keys_do_what_they_do_in_life(app):
    with testing.manual(app) as kit:
        made = app.enqueue("a", {"n": 1}, idempotency_key="k")
        assert app.enqueue("a", {"n": 1}, idempotency_key="k") == made
        with pytest.raises(IdempotencyConflict):
            app.enqueue_many([{"type": "b"}, {"type": "a", "payload": {"n": 2}, "idempotency_key": "k"}])
        assert len(kit.jobs) == 1
        kit.clock.advance("24h1s")
        assert app.enqueue("a", {"n": 2}, idempotency_key="k") != made


def test_a_taken_id_is_refused_and_nothing_of_its_batch_is_made(app):
    with testing.manual(app) as kit:
        taken = app.enqueue("a", job_id=mint())
        for ids in ([mint(), taken], [twin := mint(), twin]):
            with pytest.raises(JobExists):
                app.enqueue_many([{"type": "a", "id": job_id} for job_id in ids])
        assert len(kit.jobs) == 1


def test_the_verbs_obey_the_rules(app, send):
    with testing.manual(app) as kit:
        job_id = send.enqueue(to="a")
        assert app.cancel(job_id, reason="no", actor="cli:eve").state == "cancelled"
        with pytest.raises(CommandRefused):
            app.retry(job_id)
        with pytest.raises(JobNotFound):
            app.get(mint())
        assert kit.drain() == []


@pytest.mark.parametrize("connection", [mock.Mock(), object()], ids=["mock", "object"])
def test_a_connection_is_not_looked_at_the_job_counts_at_once(app, send, connection):
    async def live():
        await send.aenqueue(to="c", connection=connection)

    with testing.manual(app) as kit:
        job_id = send.enqueue(to="a", connection=connection)
        app.enqueue_many([{"type": "email.send", "payload": {"to": "b"}}], connection=connection)
        asyncio.run(live())
        assert app.history(job_id, connection=connection)
        app.cancel(job_id, connection=connection)
        assert states(kit.drain()) == ["succeeded", "succeeded"]


def test_afterwards_the_ledger_is_as_it_was(app, database, redis_url, send):
    real = Ledger(database_url=database, redis_url=redis_url)
    before = real.enqueue("a")
    with testing.manual(real):
        inside = real.enqueue("a")
        real.close()  # as an application does that is shut down within the test
        assert real.get(inside).state == "ready"
        with pytest.raises(JobNotFound):
            real.get(before)
    assert real.get(before).state == "ready"
    with pytest.raises(JobNotFound):
        real.get(inside)
    real.close()


def test_modes_may_be_nested(app, send):
    with testing.manual(app) as outer:
        send.enqueue(to="a")
        with testing.inline(app) as inner:
            send.enqueue(to="b")
            assert testing.enqueued() == inner.jobs
        assert (states(outer.jobs), states(inner.jobs)) == (["ready"], ["succeeded"])
        assert testing.enqueued() == outer.jobs
