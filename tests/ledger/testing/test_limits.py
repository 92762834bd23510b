"""Time-outs, deadlines and cancels in the test modes: a handler is asked to stop, and fails as it would in life."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest

from ledger import Job, testing
from ledger.errors import JobTimeout
from tests.support.kit_jobs import kinds


@pytest.mark.parametrize("raises", [False, True])
def test_a_run_over_its_timeout_by_the_frozen_clock_fails(app, raises):
    with testing.manual(app) as kit:

        @app.job("slow", timeout="1m", max_retries=0)
        def slow(job: Job):
            assert not job.cancelled
            kit.clock.advance("2m")
            assert job.cancelled
            if raises:
                raise KeyError("something else")

        job_id = slow.enqueue()
        kit.drain()
        job = app.get(job_id)
        assert (job.state, job.failure.error_type) == ("dead", "JobTimeout")


def test_inline_the_timeout_is_raised(app):
    with testing.inline(app) as kit:

        @app.job("slow", timeout=60)
        def slow():
            kit.clock.advance(61)

        with pytest.raises(JobTimeout, match="60 s"):
            slow.enqueue()


def test_a_run_that_really_takes_too_long_is_asked_to_stop(app):
    @app.job("polite", timeout=0.05, max_retries=0)
    def polite(job: Job):
        return job.wait(60)

    @app.job("asynchronous", timeout=0.05, max_retries=0)
    async def asynchronous():
        await asyncio.sleep(60)

    with testing.manual(app) as kit:
        for handler in (polite, asynchronous):
            handler.enqueue()
        assert [job.failure.error_type for job in kit.drain()] == ["JobTimeout", "JobTimeout"]


def test_a_run_ends_at_its_jobs_deadline(app):
    with testing.manual(app) as kit:

        @app.job("slow", timeout="1h")
        def slow():
            kit.clock.advance("11m")

        job_id = slow.enqueue(deadline=kit.clock.now() + timedelta(minutes=10))
        kit.drain()
        job = app.get(job_id)
        assert (job.state, job.failure.error_type, job.death.reason) == ("dead", "DeadlineExceeded", "permanent")


def test_a_cancelled_handler_is_ended_where_it_can_be_and_its_outcome_refused(app):
    began = threading.Event()

    @app.job("asynchronous")
    async def asynchronous(job: Job):
        began.set()
        await asyncio.sleep(60)

    with testing.inline(app) as kit:

        def cancel():
            began.wait(30)
            app.cancel(kit.jobs[0].id)

        thread = threading.Thread(target=cancel)
        thread.start()
        job_id = asynchronous.enqueue()
        thread.join()
        assert kinds(app, job_id) == ["enqueued", "leased", "cancelled"]


def test_notes_are_heard_and_bounded_for_each_run(app):
    @app.job("talks")
    def talks(job: Job, lines: int):
        job.progress(0.4, "begun")
        for number in range(lines):
            job.log(f"line {number}")
        if job.attempt == 1:
            raise ValueError

    with testing.manual(app) as kit:
        job_id = talks.enqueue(lines=300)
        silent = app.enqueue("email.send", {"to": "a"})
        kit.drain(advance=True)
        found = app.notes(job_id)
        assert [(note.attempt, note.progress, note.message) for note in found if note.number == 1] == [
            (1, 0.4, "begun"),
            (2, 0.4, "begun"),
        ]
        assert [note.number for note in found] == [*range(1, 101), *range(202, 302)] * 2
        assert app.notes(silent) == []
        assert asyncio.run(app.anotes(job_id)) == found


def test_a_paused_queue_is_left_alone(app, send):
    with testing.manual(app) as kit:
        kit.paused.add("mail")
        job_id = send.enqueue(to="a")
        assert kit.drain() == []
        assert app.get(job_id).state == "ready"
        kit.paused.clear()
        assert [job.id for job in kit.drain()] == [job_id]
