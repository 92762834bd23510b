"""Inline mode: to enqueue a job is to run it, by the rules of life."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ledger import InvalidRequest, Job, Permanent, Retry, Snooze, testing
from ledger.handlers import current_job
from tests.support.kit_jobs import Flaky, kinds, register, states


def test_a_job_has_run_when_enqueue_returns(app, send):
    with testing.inline(app):
        job = app.get(send.enqueue(to="a", parts=("x", "y")))
        assert (job.state, job.result) == ("succeeded", {"to": "a", "parts": ["x", "y"], "attempt": 1})
        assert kinds(app, job.id) == ["enqueued", "leased", "succeeded"]
        assert (job.queue, job.priority.word, job.max_retries) == ("mail", "high", 2)


def test_an_error_of_the_handler_is_raised_and_on_record(app):
    boom = register(app, "boom", Flaky(1))
    with testing.inline(app) as kit:
        with pytest.raises(ValueError, match="not yet"):
            boom.enqueue()
        (job,) = kit.jobs
        assert kinds(app, job.id) == ["enqueued", "leased", "failed", "retried"]
        assert job.last_error == "ValueError: not yet"


def test_without_fail_fast_it_is_only_on_record(app):
    boom = register(app, "boom", Flaky(1), max_retries=0)
    with testing.inline(app, fail_fast=False):
        job = app.get(boom.enqueue())
    assert (job.state, job.death.reason) == ("dead", "retries_exhausted")


@pytest.mark.parametrize(
    ("answer", "state"),
    [(Retry("later", after=60), "retrying"), (Permanent("no"), "dead"), (Snooze("1h"), "scheduled")],
)
def test_what_a_handler_says_on_purpose_is_not_raised(app, answer, state):
    @app.job("answers")
    def answers():
        if isinstance(answer, Snooze):
            return answer
        raise answer

    with testing.inline(app):
        assert app.get(answers.enqueue()).state == state


def test_a_wrong_argument_is_refused_before_anything_is_on_record(app, send):
    with testing.inline(app) as kit:
        with pytest.raises(InvalidRequest):
            send.enqueue(to=3)
        assert kit.jobs == []


def test_a_payload_that_does_not_fit_its_handler_is_raised(app):
    with testing.inline(app) as kit:
        with pytest.raises(InvalidRequest):
            app.enqueue("email.send", {"cc": "x"})
        assert states(kit.jobs) == ["dead"]


def test_a_result_that_cannot_be_kept_is_raised(app):
    odd = register(app, "odd", object)
    with testing.inline(app), pytest.raises(Permanent, match="JSON"):
        odd.enqueue()


def test_many_are_run_in_order_and_the_first_error_is_raised_when_all_have_run(app):
    ran = []

    @app.job("count")
    def count(n: int):
        ran.append(n)
        if n in (1, 2):
            raise ValueError(n)

    with testing.inline(app) as kit:
        with pytest.raises(ValueError, match="1"):
            app.enqueue_many([{"type": "count", "payload": {"n": n}} for n in range(4)])
        assert ran == [0, 1, 2, 3]
        assert states(kit.jobs) == ["succeeded", "retrying", "retrying", "succeeded"]


def test_what_a_handler_enqueues_runs_inside_it_and_says_what_caused_it(app):
    trail = []

    @app.job("parent")
    def parent(n: int):
        trail.append(f"{n} begins")
        trail.append(app.get(child.enqueue(n=n)).state.value)

    @app.job("child")
    def child(n: int):
        trail.append(f"child of {n}")

    with testing.inline(app) as kit:
        app.enqueue_many([{"type": "parent", "payload": {"n": n}} for n in (1, 2)])
        assert trail == ["1 begins", "child of 1", "succeeded", "2 begins", "child of 2", "succeeded"]
        first, _, of_first, _ = kit.jobs
        (made, *_) = app.history(of_first.id)
        assert (made.actor, made.trace.causation_id) == ("worker:testing", f"{first.id}:2")
        assert made.trace.correlation_id == str(first.id)


def test_middleware_surrounds_the_run(app, send):
    trail = []

    def named(name):
        def middleware(job, call_next):
            trail.append(f"{name} {job.type}")
            return call_next(job) | {name: True}

        return middleware

    app.use(named("outer"), named("inner"))
    with testing.inline(app):
        result = app.get(send.enqueue(to="a")).result
    assert trail == ["outer email.send", "inner email.send"]
    assert result == {"to": "a", "parts": None, "attempt": 1, "inner": True, "outer": True}


def test_an_async_handler_runs_in_a_plain_test_and_on_a_running_loop(app):
    @app.job("async")
    async def handler(n: int) -> list:
        await asyncio.sleep(0)
        return [n, current_job.get().type, threading.current_thread() is threading.main_thread()]

    async def live():
        return app.get(handler.enqueue(n=2)).result, (await app.aget(await handler.aenqueue(n=3))).result

    with testing.inline(app):
        assert app.get(handler.enqueue(n=1)).result == [1, "async", True]
        assert asyncio.run(live()) == ([2, "async", False], [3, "async", False])


def test_an_error_of_an_async_handler_is_raised_on_a_running_loop_too(app):
    @app.job("async")
    async def handler() -> None:
        raise ZeroDivisionError

    async def live():
        handler.enqueue()

    with testing.inline(app), pytest.raises(ZeroDivisionError):
        asyncio.run(live())


def test_async_handlers_may_await_each_other_deeper_than_any_pool(app):
    @app.job("nest")
    async def nest(depth: int) -> None:
        if depth:
            await nest.aenqueue(depth=depth - 1)

    with testing.inline(app) as kit:
        asyncio.run(app.aenqueue("nest", {"depth": 30}))
        assert states(kit.jobs) == ["succeeded"] * 31


def test_retry_by_an_operator_and_run_now_run_it(app):
    flaky = register(app, "flaky", Flaky(1), max_retries=0)
    with testing.inline(app, fail_fast=False):
        dead = flaky.enqueue()
        later = app.enqueue("flaky", delay="1h")
        app.retry(dead, reason="fixed")
        assert app.get(later).state == "scheduled"
        app.run_now(later)
        assert states([app.get(dead), app.get(later)]) == ["succeeded", "succeeded"]


def test_a_failed_assertion_of_the_test_itself_is_no_error_of_the_job(app):
    fails = register(app, "fails", lambda: pytest.fail("seen"))
    with testing.inline(app, fail_fast=False), pytest.raises(pytest.fail.Exception, match="seen"):
        fails.enqueue()


def test_a_job_that_cancels_itself_is_told_and_its_outcome_refused(app):
    seen = []

    @app.job("suicidal")
    def suicidal(job: Job):
        app.cancel(job.id)
        seen.append(job.cancelled)

    with testing.inline(app):
        assert app.get(suicidal.enqueue()).state == "cancelled"
    assert seen == [True]
