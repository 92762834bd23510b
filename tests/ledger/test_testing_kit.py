"""The testing kit: what a test sees without a server is what happens in life."""

from __future__ import annotations

import asyncio
import doctest
import threading
from datetime import timedelta
from importlib import import_module
from unittest import mock
from uuid import UUID

import pytest

from ledger import (
    CommandRefused,
    IdempotencyConflict,
    InvalidRequest,
    Job,
    JobNotFound,
    Ledger,
    Permanent,
    Retry,
    Snooze,
    testing,
)
from ledger.errors import JobExists
from ledger.handlers import current_job
from ledger.ids import mint
from ledger.runtime import failpoints

NOON = "2026-03-01T12:00:00Z"


class Flaky:
    """A handler that fails so many times, and then does not."""

    def __init__(self, failures: int, error: type[BaseException] = ValueError) -> None:
        self.failures, self.error, self.runs = failures, error, 0

    def __call__(self) -> str:
        self.runs += 1
        if self.runs <= self.failures:
            raise self.error("not yet")
        return "done"


@pytest.fixture
def app():
    """An application whose servers nobody could reach."""
    ledger = Ledger(database_url="postgresql://nobody@127.0.0.1:1/none", redis_url="redis://127.0.0.1:1/0")

    @ledger.job("email.send", queue="mail", priority="high", max_retries=2)
    def send_email(job: Job, to: str, parts: list[str] | None = None) -> dict:
        return {"to": to, "parts": parts, "attempt": job.attempt}

    return ledger


@pytest.fixture
def send(app):
    return app.handlers["email.send"]


def kinds(ledger, job_id) -> list[str]:
    return [entry.kind.value for entry in ledger.history(job_id)]


def states(jobs) -> list[str]:
    return [job.state.value for job in jobs]


def register(ledger, type_, function, **options):
    """Register a callable that is no function of its own."""

    @ledger.job(type_, **options)
    def handler():
        return function()

    return handler


class TestInline:
    def test_a_job_has_run_when_enqueue_returns(self, app, send):
        with testing.inline(app):
            job = app.get(send.enqueue(to="a", parts=("x", "y")))
            assert (job.state, job.result) == ("succeeded", {"to": "a", "parts": ["x", "y"], "attempt": 1})
            assert kinds(app, job.id) == ["enqueued", "leased", "succeeded"]
            assert (job.queue, job.priority.word, job.max_retries) == ("mail", "high", 2)

    def test_an_error_of_the_handler_is_raised_and_on_record(self, app):
        boom = register(app, "boom", Flaky(1))
        with testing.inline(app) as kit:
            with pytest.raises(ValueError, match="not yet"):
                boom.enqueue()
            (job,) = kit.jobs
            assert kinds(app, job.id) == ["enqueued", "leased", "failed", "retried"]
            assert job.last_error == "ValueError: not yet"

    def test_without_fail_fast_it_is_only_on_record(self, app):
        boom = register(app, "boom", Flaky(1), max_retries=0)
        with testing.inline(app, fail_fast=False):
            job = app.get(boom.enqueue())
        assert (job.state, job.death.reason) == ("dead", "retries_exhausted")

    @pytest.mark.parametrize(
        ("answer", "state"),
        [(Retry("later", after=60), "retrying"), (Permanent("no"), "dead"), (Snooze("1h"), "scheduled")],
    )
    def test_what_a_handler_says_on_purpose_is_not_raised(self, app, answer, state):
        @app.job("answers")
        def answers():
            if isinstance(answer, Snooze):
                return answer
            raise answer

        with testing.inline(app):
            assert app.get(answers.enqueue()).state == state

    def test_a_wrong_argument_is_refused_before_anything_is_on_record(self, app, send):
        with testing.inline(app) as kit:
            with pytest.raises(InvalidRequest):
                send.enqueue(to=3)
            assert kit.jobs == []

    def test_a_payload_that_does_not_fit_its_handler_is_raised(self, app):
        with testing.inline(app) as kit:
            with pytest.raises(InvalidRequest):
                app.enqueue("email.send", {"cc": "x"})
            assert states(kit.jobs) == ["dead"]

    def test_a_result_that_cannot_be_kept_is_raised(self, app):
        odd = register(app, "odd", object)
        with testing.inline(app), pytest.raises(Permanent, match="JSON"):
            odd.enqueue()

    def test_many_are_run_in_order_and_the_first_error_is_raised_when_all_have_run(self, app):
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

    def test_what_a_handler_enqueues_runs_inside_it_and_says_what_caused_it(self, app):
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

    def test_middleware_surrounds_the_run(self, app, send):
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

    def test_an_async_handler_runs_in_a_plain_test_and_on_a_running_loop(self, app):
        @app.job("async")
        async def handler(n: int) -> list:
            await asyncio.sleep(0)
            return [n, current_job.get().type, threading.current_thread() is threading.main_thread()]

        async def live():
            return app.get(handler.enqueue(n=2)).result, (await app.aget(await handler.aenqueue(n=3))).result

        with testing.inline(app):
            assert app.get(handler.enqueue(n=1)).result == [1, "async", True]
            assert asyncio.run(live()) == ([2, "async", False], [3, "async", False])

    def test_an_error_of_an_async_handler_is_raised_on_a_running_loop_too(self, app):
        @app.job("async")
        async def handler() -> None:
            raise ZeroDivisionError

        async def live():
            handler.enqueue()

        with testing.inline(app), pytest.raises(ZeroDivisionError):
            asyncio.run(live())

    def test_async_handlers_may_await_each_other_deeper_than_any_pool(self, app):
        @app.job("nest")
        async def nest(depth: int) -> None:
            if depth:
                await nest.aenqueue(depth=depth - 1)

        with testing.inline(app) as kit:
            asyncio.run(app.aenqueue("nest", {"depth": 30}))
            assert states(kit.jobs) == ["succeeded"] * 31

    def test_retry_by_an_operator_and_run_now_run_it(self, app):
        flaky = register(app, "flaky", Flaky(1), max_retries=0)
        with testing.inline(app, fail_fast=False):
            dead = flaky.enqueue()
            later = app.enqueue("flaky", delay="1h")
            app.retry(dead, reason="fixed")
            assert app.get(later).state == "scheduled"
            app.run_now(later)
            assert states([app.get(dead), app.get(later)]) == ["succeeded", "succeeded"]

    def test_a_failed_assertion_of_the_test_itself_is_no_error_of_the_job(self, app):
        fails = register(app, "fails", lambda: pytest.fail("seen"))
        with testing.inline(app, fail_fast=False), pytest.raises(pytest.fail.Exception, match="seen"):
            fails.enqueue()

    def test_a_job_that_cancels_itself_is_told_and_its_outcome_refused(self, app):
        seen = []

        @app.job("suicidal")
        def suicidal(job: Job):
            app.cancel(job.id)
            seen.append(job.cancelled)

        with testing.inline(app):
            assert app.get(suicidal.enqueue()).state == "cancelled"
        assert seen == [True]


class TestManual:
    def test_jobs_wait_for_drain(self, app, send):
        with testing.manual(app) as kit:
            job_id = send.enqueue(to="a")
            assert app.get(job_id).state == "ready"
            assert [job.id for job in kit.drain()] == [job_id]
            assert (app.get(job_id).state, kit.drain()) == ("succeeded", [])

    def test_retries_come_when_the_clock_is_advanced_and_end_in_death(self, app):
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

    def test_drain_may_advance_the_clock_itself(self, app):
        flaky = register(app, "flaky", Flaky(2))
        with testing.manual(app) as kit:
            began = kit.clock.now()
            flaky.schedule(delay="1h")
            assert states(kit.drain(advance=True)) == ["retrying", "retrying", "succeeded"]
            assert kit.clock.now() - began > timedelta(hours=1)

    def test_drain_may_raise_the_first_error_after_all_have_run(self, app, send):
        flaky = register(app, "flaky", Flaky(2), priority="critical")
        with testing.manual(app) as kit:
            flaky.enqueue()
            send.enqueue(to="a")
            with pytest.raises(ValueError, match="not yet"):
                kit.drain(fail_fast=True)
            assert states(kit.jobs) == ["retrying", "succeeded"]

    def test_urgent_jobs_go_first_then_those_that_were_ready_first(self, app, send):
        with testing.manual(app) as kit:
            for to, priority in (("3", "low"), ("1", "critical"), ("2", "medium"), ("2b", "medium")):
                send.enqueue(to=to, priority=priority)
            assert [job.payload["to"] for job in kit.drain()] == ["1", "2", "2b", "3"]

    def test_drain_of_one_queue_leaves_the_others(self, app, send):
        with testing.manual(app) as kit:
            send.enqueue(to="a")
            send.enqueue(to="b", queue="other")
            assert [job.queue for job in kit.drain(queue="other")] == ["other"]

    def test_a_job_going_in_circles_is_found_out(self, app):
        again = register(app, "again", lambda: Snooze(0))
        with testing.manual(app) as kit:
            again.enqueue()
            with pytest.raises(AssertionError, match="5 runs"):
                kit.drain(most=5)

    def test_an_expired_job_is_cancelled(self, app, send):
        with testing.manual(app) as kit:
            job_id = send.enqueue(to="a", expires_at=kit.clock.now() + timedelta(minutes=1))
            kit.clock.advance("1m")
            assert kit.drain() == []
            assert kinds(app, job_id) == ["enqueued", "cancelled"]

    def test_a_type_without_a_handler_stays_ready(self, app):
        with testing.manual(app) as kit:
            job_id = app.enqueue("of.another.service")
            assert kit.drain() == []
            assert app.get(job_id).state == "ready"

    def test_idempotency_keys_do_what_they_do_in_life(self, app):
        with testing.manual(app) as kit:
            made = app.enqueue("a", {"n": 1}, idempotency_key="k")
            assert app.enqueue("a", {"n": 1}, idempotency_key="k") == made
            with pytest.raises(IdempotencyConflict):
                app.enqueue_many([{"type": "b"}, {"type": "a", "payload": {"n": 2}, "idempotency_key": "k"}])
            assert len(kit.jobs) == 1
            kit.clock.advance("24h1s")
            assert app.enqueue("a", {"n": 2}, idempotency_key="k") != made

    def test_a_taken_id_is_refused_and_nothing_of_its_batch_is_made(self, app):
        with testing.manual(app) as kit:
            taken = app.enqueue("a", job_id=mint())
            for ids in ([mint(), taken], [twin := mint(), twin]):
                with pytest.raises(JobExists):
                    app.enqueue_many([{"type": "a", "id": job_id} for job_id in ids])
            assert len(kit.jobs) == 1

    def test_the_verbs_obey_the_rules(self, app, send):
        with testing.manual(app) as kit:
            job_id = send.enqueue(to="a")
            assert app.cancel(job_id, reason="no", actor="cli:eve").state == "cancelled"
            with pytest.raises(CommandRefused):
                app.retry(job_id)
            with pytest.raises(JobNotFound):
                app.get(mint())
            assert kit.drain() == []

    @pytest.mark.parametrize("connection", [mock.Mock(), object()], ids=["mock", "object"])
    def test_a_connection_is_not_looked_at_the_job_counts_at_once(self, app, send, connection):
        async def live():
            await send.aenqueue(to="c", connection=connection)

        with testing.manual(app) as kit:
            job_id = send.enqueue(to="a", connection=connection)
            app.enqueue_many([{"type": "email.send", "payload": {"to": "b"}}], connection=connection)
            asyncio.run(live())
            assert app.history(job_id, connection=connection)
            app.cancel(job_id, connection=connection)
            assert states(kit.drain()) == ["succeeded", "succeeded"]

    def test_afterwards_the_ledger_is_as_it_was(self, app, database, redis_url, send):
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

    def test_modes_may_be_nested(self, app, send):
        with testing.manual(app) as outer:
            send.enqueue(to="a")
            with testing.inline(app) as inner:
                send.enqueue(to="b")
                assert testing.enqueued() == inner.jobs
            assert (states(outer.jobs), states(inner.jobs)) == (["ready"], ["succeeded"])
            assert testing.enqueued() == outer.jobs


class TestAssertions:
    def test_members_and_options_are_expected_by_name(self, app, send):
        with testing.manual(app) as kit:
            run_at = kit.clock.now() + timedelta(hours=1)
            job_id = send.enqueue(
                to="a", parts=["x"], queue="q", timeout="30s", run_at=run_at, metadata={"team": "m", "env": "t"}
            )
            for expected in (
                {"to": "a"},
                {"parts": ("x",)},
                {"queue": "q", "priority": "high"},
                {"timeout": 30, "delay": "1h", "run_at": run_at},
                {"run_at": run_at.isoformat(), "metadata": {"team": "m"}},
                {"to": mock.ANY, "job_id": job_id, "max_retries": 2, "idempotency_key": None},
            ):
                assert testing.assert_enqueued("email.send", **expected).id == job_id
            assert kit.assert_enqueued(send).id == job_id
            for other in ({"to": "b"}, {"queue": "mail"}, {"cc": "x"}, {"delay": "2h"}, {"metadata": {"team": "x"}}):
                testing.refute_enqueued(send, **other)

    def test_the_failure_says_what_was_enqueued_and_what_differs(self, app, send):
        with testing.manual(app) as kit:
            send.enqueue(to="a@b.c")
            app.enqueue("report.build", {"day": 1})
            with pytest.raises(AssertionError) as failed:
                kit.assert_enqueued("email.send", to="x", queue="mail", cc="y")
            assert str(failed.value).splitlines() == [
                "no such job was enqueued: email.send to='x' queue='mail' cc='y'",
                "enqueued were:",
                '  email.send {"to":"a@b.c"} queue=mail priority=high state=ready',
                "      to is 'a@b.c', not 'x'",
                "      cc is not there, not 'y'",
                '  report.build {"day":1} queue=default priority=medium state=ready',
            ]

    def test_the_failure_says_when_there_is_nothing(self, app):
        with testing.manual(app) as kit, pytest.raises(AssertionError, match="nothing was enqueued"):
            kit.assert_enqueued("email.send")

    def test_refute_says_what_it_found(self, app, send):
        with testing.manual(app) as kit:
            send.enqueue(to="a")
            with pytest.raises(AssertionError, match=r'(?s)enqueued 1 times: email\.send.*\{"to":"a"\}'):
                kit.refute_enqueued(send, to="a")

    def test_a_job_that_has_run_still_counts(self, app, send):
        with testing.inline(app):
            send.enqueue(to="a")
            assert testing.assert_enqueued(send, to="a").state == "succeeded"

    def test_an_option_that_a_job_does_not_show_cannot_be_expected(self, app, send):
        with testing.manual(app), pytest.raises(TypeError, match="connection"):
            testing.assert_enqueued(send, connection=None)

    def test_outside_of_a_mode_there_is_nothing_to_ask(self):
        with pytest.raises(RuntimeError, match="no test mode is on"):
            testing.assert_enqueued("a")


class TestCrashAt:
    @pytest.mark.parametrize(
        ("point", "handled"), [("after_lease", 1), ("before_handler", 1), ("after_handler", 2), ("before_append", 2)]
    )
    def test_a_crash_before_the_record_leads_to_a_second_run(self, app, point, handled):
        flaky = Flaky(0)
        handler = register(app, "once", flaky, max_retries=0)
        with testing.manual(app) as kit, testing.crash_at(point):
            job_id = handler.enqueue()
            assert states(kit.drain()) == ["ready", "succeeded"]
            job = app.get(job_id)
            assert (flaky.runs, job.attempt, job.retry_count, job.crash_count) == (handled, 2, 0, 1)
            assert app.history(job_id)[2].event.reason == "lease_expired"

    def test_a_crash_after_the_record_changes_nothing(self, app):
        flaky = Flaky(0)
        handler = register(app, "once", flaky)
        with testing.inline(app), testing.crash_at("after_append"):
            assert kinds(app, handler.enqueue()) == ["enqueued", "leased", "succeeded"]
        assert flaky.runs == 1

    def test_who_crashes_too_often_is_poison(self, app, send):
        with testing.manual(app) as kit, testing.crash_at("after_handler", times=9):
            send.enqueue(to="a")
            assert states(kit.drain()) == ["ready", "ready", "dead"]
            assert kit.jobs[0].death.reason == "poison"

    def test_a_point_of_the_users_own(self, app):
        done = []

        @app.job("two.steps")
        def two_steps():
            done.append("first")
            failpoints.hit("between the steps")
            done.append("second")

        with testing.inline(app), testing.crash_at("between the steps"):
            assert app.get(two_steps.enqueue()).state == "succeeded"
        assert done == ["first", "first", "second"]

    def test_a_point_that_nobody_passes_fails_the_test(self):
        with pytest.raises(AssertionError, match="no run passed 'after_handlr'"), testing.crash_at("after_handlr"):
            pass


class TestFrozenClock:
    def test_it_stands_until_it_is_moved(self):
        clock = testing.FrozenClock(NOON)
        assert clock.now() == clock.now()
        assert clock.advance(90) - testing.FrozenClock(NOON).now() == timedelta(seconds=90)
        assert clock.move_to(NOON) == testing.FrozenClock(NOON).now()

    @pytest.mark.parametrize("by", ["1d", -1, "soon"])
    def test_nonsense_is_refused(self, by):
        with pytest.raises(ValueError):
            testing.FrozenClock(NOON).advance(by)

    def test_the_rules_see_it(self, app, send):
        with testing.manual(app, clock=testing.FrozenClock(NOON)) as kit:
            job_id = send.enqueue(to="a")
            kit.clock.move_to("2026-03-01T13:00:00Z")
            job = app.cancel(job_id)
            assert (job.created_at.hour, job.completed_at.hour, app.now()) == (12, 13, kit.clock.now())


@pytest.mark.parametrize("module", ["ledger.testing", "ledger.testing.clock"])
def test_the_examples_run(module):
    results = doctest.testmod(import_module(module), raise_on_error=True)
    assert results.attempted > 0


def test_ids_are_ids(app):
    with testing.manual(app):
        assert isinstance(app.enqueue("a"), UUID)
