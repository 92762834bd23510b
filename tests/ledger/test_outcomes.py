"""What a handler may answer, and what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from ledger import InvalidRequest, Permanent, Retry, Snooze, ids
from ledger.errors import Breach
from ledger.events import DeadLettered, Failed, Priority, Request, Retried, RetryPolicy, Scheduled, Succeeded
from ledger.job import JobState, State
from ledger.outcomes import MAX_RESULT, raised, returned

NOW = datetime(2026, 11, 24, tzinfo=UTC)
PLAIN = RetryPolicy(backoff="exponential", base_seconds=10, max_seconds=100, jitter="none")


def running(**changes) -> JobState:
    values = {
        "id": ids.mint(), "request": Request(type="t", max_retries=3, retry=PLAIN), "queue": "default",
        "priority": Priority.MEDIUM, "state": State.RUNNING, "version": 2, "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip
    return JobState(**values | changes)


def after(error: BaseException, job: JobState | None = None):
    return raised(job or running(), error, "Traceback …", 1.5, NOW, Random(1))


def test_a_value_is_kept_as_json():
    assert returned(running(), {"lines": 3}, 1.5, NOW) == (Succeeded(1.5, b'{"lines":3}'),)
    assert returned(running(), None, 1.5, NOW) == (Succeeded(1.5, None),)


def test_snooze_puts_off_and_uses_no_retry():
    (event,) = returned(running(), Snooze("90s", "rate limit"), 1, NOW)
    assert event == Scheduled(NOW + timedelta(seconds=90), None, "rate limit")


@pytest.mark.parametrize("value", [object(), "\x00", "x" * (MAX_RESULT + 1)])
def test_a_result_that_cannot_be_kept_says_so(value):
    with pytest.raises(Permanent, match="result"):
        returned(running(), value, 1, NOW)


def test_an_exception_is_retried_with_the_policys_delay():
    failed, retried = after(ValueError("boom"))
    assert failed == Failed("ValueError", "boom", "Traceback …", 1.5)
    assert retried == Retried(NOW + timedelta(seconds=10), 10, 1)


def test_d29_three_retries_are_four_runs():
    kinds = [type(after(ValueError(), running(retry_count=n))[1]) for n in range(4)]
    assert kinds == [Retried, Retried, Retried, DeadLettered]


def test_d28_permanent_skips_the_budget():
    assert after(Permanent("no such address"))[1] == DeadLettered("permanent", 0, 0)


def test_retry_after_waits_exactly_that_long_and_uses_one_retry():
    assert after(Retry("busy", after=7))[1] == Retried(NOW + timedelta(seconds=7), 7, 1)
    assert isinstance(after(Retry(after=7), running(retry_count=3))[1], DeadLettered)


def test_a_wish_is_honoured_as_the_cause_of_another_error():
    outer = RuntimeError("outer")
    outer.__cause__ = Permanent("inner")
    assert after(outer)[1].reason == "permanent"


def test_a_payload_that_does_not_fit_is_permanent():
    assert after(InvalidRequest([Breach("/payload", "wrong")]))[1].reason == "permanent"


def test_error_texts_are_kept_as_postgres_can_hold_them():
    failed, _ = after(ValueError("a\x00b\ud800" + "x" * 100_000))
    assert "\x00" not in failed.error_message
    assert "characters left out" in failed.error_message
    failed.error_message.encode()
