"""Assertions on what was enqueued, and what they say when they fail."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock

import pytest

from ledger import testing


def test_members_and_options_are_expected_by_name(app, send):
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
            {"payload": {"to": "a", "parts": ["x"]}},
            {"to": mock.ANY, "job_id": job_id, "max_retries": 2, "idempotency_key": None},
        ):
            assert testing.assert_enqueued("email.send", **expected).id == job_id
        assert kit.assert_enqueued(send).id == job_id
        for other in (
            {"to": "b"},
            {"queue": "mail"},
            {"cc": "x"},
            {"payload": {"to": "a"}},
            {"delay": "2h"},
            {"metadata": {"team": "x"}},
        ):
            testing.refute_enqueued(send, **other)


def test_the_failure_says_what_was_enqueued_and_what_differs(app, send):
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


def test_the_failure_says_when_there_is_nothing(app):
    with testing.manual(app) as kit, pytest.raises(AssertionError, match="nothing was enqueued"):
        kit.assert_enqueued("email.send")


def test_refute_says_what_it_found(app, send):
    with testing.manual(app) as kit:
        send.enqueue(to="a")
        with pytest.raises(AssertionError, match=r'(?s)enqueued 1 times: email\.send.*\{"to":"a"\}'):
            kit.refute_enqueued(send, to="a")


def test_a_job_that_has_run_still_counts(app, send):
    with testing.inline(app):
        send.enqueue(to="a")
        assert testing.assert_enqueued(send, to="a").state == "succeeded"


def test_an_option_that_a_job_does_not_show_cannot_be_expected(app, send):
    with testing.manual(app), pytest.raises(TypeError, match="connection"):
        testing.assert_enqueued(send, connection=None)


def test_outside_of_a_mode_there_is_nothing_to_ask():
    with pytest.raises(RuntimeError, match="no test mode is on"):
        testing.assert_enqueued("a")
