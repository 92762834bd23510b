"""Requests to enqueue: read at once or member by member with the same answer, and all that is wrong named."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from timeit import repeat
from uuid import uuid5

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import ids, shapes
from ledger.errors import InvalidRequest
from ledger.events import Priority, RetryPolicy
from ledger.requests import MEMBERS, Enqueue, submission
from ledger.settings import from_env

SETTINGS = from_env({})
NOW = ids.born_at(ids.mint())
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2000),
    st.floats(allow_nan=False),
    st.sampled_from(
        ["", "a", "a\n", "high", "30s", "1d", "linear", "2027-01-01T00:00:00Z", str(ids.mint()), "x" * 130]
    ),
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.text(max_size=3), SCALARS, max_size=3))


def breaches(from_json=True, **members):
    with pytest.raises(InvalidRequest) as refused:
        submission({"type": "a"} | members, b"{}", SETTINGS, NOW, from_json=from_json)
    return {breach.pointer: breach.detail for breach in refused.value.breaches}


def asked(**members):
    """Check a request as Python spells it."""
    return submission({"type": "a"} | members, b"{}", SETTINGS, NOW)


@given(st.dictionaries(st.sampled_from(sorted(MEMBERS)), VALUES, max_size=4))
def test_member_by_member_finds_something_wrong_exactly_where_the_whole_is_refused(members):
    whole, wrong = shapes.read(Enqueue, {"type": "a"} | members)
    alone, found = shapes._struct(Enqueue, {"type": "a"} | members, "")
    assert bool(wrong) == bool(found)
    assert whole == alone
    names = {breach.pointer.split("/")[1] for breach in wrong}
    good = {name: value for name, value in members.items() if name not in names}
    assert shapes.read(Enqueue, {"type": "a"} | good)[1] == []


def test_every_bad_member_is_named_in_plain_words():
    found = breaches(
        type="",
        queue="a\n",
        priority="urgent",
        max_retries=True,
        timeout="1d",
        timeout_seconds="5",
        delay=5,
        retry={"base": 1, "hue": 1, "backoff": "steep"},
        metadata={"": "x", "a/b": 1},
    )
    assert found == {
        "/type": "job type is required",
        "/queue": "must be 1 to 50 of letters, digits, '.', '_', '-'",
        "/priority": "must be one of critical, high, medium, low",
        "/max_retries": "must be a whole number from 0 to 1000",
        "/timeout": "'1d' is not a duration; write it like 300ms, 90s, 1h30m or PT90S",
        "/timeout_seconds": "must be a number of seconds, 1 ms to 168 h; timeout takes durations such as 90s",
        "/delay": "must be a duration in a string, such as 90s or PT90S",
        "/retry/base": "must be a duration in a string, such as 90s or PT90S",
        "/retry/hue": "is not a member of retry",
        "/retry/backoff": "must be one of constant, linear, exponential",
        "/metadata": "keys must have 1 to 100 characters",
        "/metadata/a~1b": "must be a string of at most 1000 characters",
    }


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"timeout": "1s", "timeout_seconds": 1}, "/timeout"),
        ({"delay": "1s", "scheduled_at": "2027-01-01T00:00:00Z"}, "/delay"),
        ({"delay": "P2000D"}, "/delay"),
        ({"scheduled_at": "2199-01-01T00:00:00Z"}, "/scheduled_at"),
        ({"scheduled_at": "2027-02-30T00:00:00Z"}, "/scheduled_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"deadline": "2020-01-01T00:00:00Z"}, "/deadline"),
        ({"retry": {"base": "2h"}}, "/retry/base"),
        ({"retry": {"max": "1s"}}, "/retry/max"),
        ({"id": str(ids.smallest_at(NOW - timedelta(days=3)))}, "/id"),
        ({"id": str(uuid5(ids.mint(), "x"))}, "/id"),
        ({"timeout": "200h"}, "/timeout"),
        ({"payload_version": 0}, "/payload_version"),
    ],
)
def test_what_no_shape_can_say_is_checked_too(members, pointer):
    assert breaches(**members).keys() == {pointer}


def test_breaches_of_both_kinds_are_told_together():
    assert breaches(queue="?", expires_at="2020-01-01T00:00:00Z").keys() == {"/queue", "/expires_at"}


def test_python_may_use_its_own_types():
    at = datetime(2027, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    job_id = ids.mint()
    found = asked(
        timeout=timedelta(minutes=2), scheduled_at=at, id=job_id, retry={"base": 2, "max": timedelta(hours=1)}
    )
    assert found.request.timeout_seconds == 120
    assert found.request.scheduled_at == at
    assert found.job_id == job_id
    assert (found.request.retry.base_seconds, found.request.retry.max_seconds) == (2, 3600)
    assert asked(retry=RetryPolicy("linear", 1.5, 2.5, "none")).request.retry == RetryPolicy("linear", 1.5, 2.5, "none")
    assert asked(timeout=0.25).request.timeout_seconds == 0.25
    assert asked(delay=30).request.scheduled_at == NOW + timedelta(seconds=30)
    assert asked(priority="critical").priority is Priority.CRITICAL


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"timeout": -1}, "/timeout"),
        ({"timeout": float("inf")}, "/timeout"),
        ({"timeout": timedelta(seconds=-1)}, "/timeout"),
        ({"timeout": True}, "/timeout"),
        ({"scheduled_at": datetime(2027, 1, 1)}, "/scheduled_at"),  # noqa: DTZ001
        ({"metadata": {"a": "\0"}}, "/metadata"),
        ({"correlation_id": "\ud800"}, "/correlation_id"),
        ({"retry": 5}, "/retry"),
        ({"queue": object()}, "/queue"),
    ],
)
def test_python_values_are_refused_like_any(members, pointer):
    assert breaches(from_json=False, **members).keys() == {pointer}


def test_a_good_request_is_read_at_once(monkeypatch):
    """Enqueueing one by one costs no member-by-member check."""
    monkeypatch.setattr(shapes, "_struct", None)
    members = {"type": "a", "payload": {"to": "a@b.c"}, "queue": "mail", "priority": "high", "timeout": "30s"}
    submission(members, b"{}", SETTINGS, NOW, from_json=True)
    best = min(repeat(lambda: submission(members, b"{}", SETTINGS, NOW, from_json=True), number=500, repeat=20)) / 500
    assert best < 100e-6


def test_what_a_request_may_hold_is_what_its_type_says():
    schema = msgspec.json.schema(Enqueue)["$defs"]["Enqueue"]
    assert schema["properties"].keys() == MEMBERS
    assert schema["required"] == ["type"]
    assert schema["additionalProperties"] is False
