"""Crashes on demand, at every place of a run."""

from __future__ import annotations

import pytest

from ledger import testing
from ledger.runtime import failpoints
from tests.support.kit_jobs import Flaky, kinds, register, states


@pytest.mark.parametrize(
    ("point", "handled"), [("after_lease", 1), ("before_handler", 1), ("after_handler", 2), ("before_append", 2)]
)
def test_a_crash_before_the_record_leads_to_a_second_run(app, point, handled):
    flaky = Flaky(0)
    handler = register(app, "once", flaky, max_retries=0)
    with testing.manual(app) as kit, testing.crash_at(point):
        job_id = handler.enqueue()
        assert states(kit.drain()) == ["ready", "succeeded"]
        job = app.get(job_id)
        assert (flaky.runs, job.attempt, job.retry_count, job.crash_count) == (handled, 2, 0, 1)
        assert app.history(job_id)[2].event.reason == "lease_expired"


def test_a_crash_after_the_record_changes_nothing(app):
    flaky = Flaky(0)
    handler = register(app, "once", flaky)
    with testing.inline(app), testing.crash_at("after_append"):
        assert kinds(app, handler.enqueue()) == ["enqueued", "leased", "succeeded"]
    assert flaky.runs == 1


def test_who_crashes_too_often_is_poison(app, send):
    with testing.manual(app) as kit, testing.crash_at("after_handler", times=9):
        send.enqueue(to="a")
        assert states(kit.drain()) == ["ready", "ready", "dead"]
        assert kit.jobs[0].death.reason == "poison"


def test_a_point_of_the_users_own(app):
    done = []

    @app.job("two.steps")
    def two_steps():
        done.append("first")
        failpoints.hit("between the steps")
        done.append("second")

    with testing.inline(app), testing.crash_at("between the steps"):
        assert app.get(two_steps.enqueue()).state == "succeeded"
    assert done == ["first", "first", "second"]


def test_a_point_that_nobody_passes_fails_the_test():
    with pytest.raises(AssertionError, match="no run passed 'after_handlr'"), testing.crash_at("after_handlr"):
        pass
