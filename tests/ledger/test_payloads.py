"""Payloads from Python: kept as they are, or refused, like those that come as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import msgspec
import pytest

from ledger import InvalidRequest, Ledger, testing
from ledger.payloads import Written, written

NAN, INFINITE = float("nan"), float("inf")


@dataclass
class Point:
    x: float


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("payload", "pointer", "detail"),
    [
        ({"x": NAN}, "/payload/x", "finite"),
        ({"a": [1, {"b/c": INFINITE}]}, "/payload/a/1/b~1c", "finite"),
        ({"p": Point(-INFINITE)}, "/payload/p/x", "finite"),
        (Point(NAN), "/payload/x", "finite"),
        ({"n": 2**64}, "/payload/n", "64 bits"),
        ({"n": [-(2**63) - 1]}, "/payload/n/0", "64 bits"),
        ({"n": nested(64)}, "/payload", "deeper than 64"),
        ({"n": "a\0b"}, "/payload", "U\\+0000"),
        ({"n": "\ud800"}, "/payload", "cannot be written"),
        ({"n": object()}, "/payload", "cannot be written"),
        ([1], "/payload", "must be an object"),
        (msgspec.Raw(b'{"a":'), "/payload", "not JSON"),
        (msgspec.Raw(b'{"a":1,"a":2}'), "/payload/a", "more than once"),
    ],
)
def test_d41_what_would_be_bent_is_refused(payload, pointer, detail):
    with pytest.raises(InvalidRequest, match=detail) as refused:
        written(payload)
    assert [breach.pointer for breach in refused.value.breaches] == [pointer]


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"n": [2**64 - 1, -(2**63), 1.5, None, "null", "18446744073709551616", Decimal("1.25")]},
        {"n": nested(63)},
        {"x": None, "text": "[" * 100},
        Point(1.5),
    ],
)
def test_what_can_be_kept_is_kept(payload):
    assert written(payload) == msgspec.json.encode(payload)


def test_nothing_is_an_empty_object_and_what_was_written_stays():
    assert written(None) == b"{}"
    assert written(Written(b'{"a":1}')) == b'{"a":1}'
    assert type(written(Written(b"{}"))) is bytes


def test_every_way_to_enqueue_refuses_it():
    ledger = Ledger()

    @ledger.job("measure")
    def measure(value: float) -> None:
        raise NotImplementedError

    with testing.manual(ledger) as kit:
        for enqueue in (
            lambda: measure.enqueue(value=NAN),
            lambda: measure.schedule(value=NAN, delay=1),
            lambda: ledger.enqueue("measure", {"value": NAN}),
            lambda: ledger.enqueue_many([{"type": "measure", "payload": {"value": NAN}}]),
        ):
            with pytest.raises(InvalidRequest, match="payload/value: is not a finite number"):
                enqueue()
        assert kit.jobs == []


def test_what_is_no_request_is_named_among_many():
    ledger = Ledger()
    with testing.manual(ledger), pytest.raises(InvalidRequest, match="1: must be a mapping"):
        ledger.enqueue_many([{"type": "a"}, "b"])
