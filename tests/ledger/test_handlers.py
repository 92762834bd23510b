"""Registering handlers: the signature is the schema, and what cannot work is refused at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypedDict
from uuid import UUID

import msgspec
import pytest

from ledger import InvalidRequest, Job, Ledger, Token, UnknownType, testing

JOB_ID = UUID("01980000-0000-7000-8000-000000000000")


class Order(msgspec.Struct):
    number: int
    lines: list[str] = []


@dataclass
class Address:
    street: str


class Point(TypedDict):
    x: int


def a_job(body: bytes) -> Job:
    return Job(
        id=JOB_ID, type="t", body=body, queue="default", priority="medium", attempt=1, retry_count=0, max_retries=3,
        timeout=timedelta(seconds=1), metadata={}, token=Token(JOB_ID, 2), correlation_id="c", worker_id="w",
    )  # fmt: skip


def register(function):
    return Ledger().job("t")(function)


def by_name(job: Job, to: str, n: int = 3):
    return (job.id, to, n)


def only_members(to: str, **rest):
    return (to, rest)


def whole_struct(order: Order):
    return order


def whole_dataclass(job, address: Address):
    return address


def whole_dict(point: Point):
    return point


@pytest.mark.parametrize(
    ("function", "body", "result"),
    [
        (by_name, b'{"to": "a"}', (JOB_ID, "a", 3)),
        (by_name, b'{"to": "a", "n": 5}', (JOB_ID, "a", 5)),
        (only_members, b'{"to": "a", "z": [1]}', ("a", {"z": [1]})),
        (whole_struct, b'{"number": 7, "lines": ["x"]}', Order(7, ["x"])),
        (whole_dataclass, b'{"street": "High"}', Address("High")),
        (whole_dict, b'{"x": 1}', {"x": 1}),
    ],
)
def test_a_payload_becomes_arguments(function, body, result):
    assert register(function).run(a_job(body)) == result


@pytest.mark.parametrize(
    ("function", "body", "named"),
    [
        (by_name, b'{"to": 1}', r"\$\.to"),
        (by_name, b"{}", "to"),
        (by_name, b'{"to": "a", "extra": 1}', "extra"),
        (whole_struct, b'{"number": 1, "lines": [1]}', r"\$\.lines\[0\]"),
    ],
)
def test_a_payload_that_does_not_fit_names_the_members_path(function, body, named):
    with pytest.raises(InvalidRequest, match=named):
        register(function).run(a_job(body))


def test_a_type_registered_twice_is_refused():
    ledger = Ledger()
    ledger.job("t")(by_name)
    with pytest.raises(ValueError, match="registered already"):
        ledger.job("t")(by_name)


def test_a_parameter_named_like_an_option_is_refused():
    with pytest.raises(ValueError, match="'queue' is named like an option"):
        register(lambda queue: None)


def test_the_registry_is_a_mapping_of_types():
    ledger = Ledger()
    ledger.job("t")(by_name)
    assert list(ledger.handlers) == ["t"]
    assert "t" in ledger.handlers
    with pytest.raises(UnknownType, match="registered are t"):
        ledger.handlers["u"]


def test_a_struct_is_enqueued_as_its_members():
    assert register(whole_struct).encode({"order": Order(7)}) == b'{"number":7,"lines":[]}'


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"queue": "a b"}, "queue: must be"),
        ({"priority": "urgent"}, "priority: must be one of critical"),
        ({"max_retries": -1}, "max_retries: must be a whole number"),
        ({"timeout": "1d"}, "timeout: '1d' is not a duration"),
        ({"retry": {"backoff": "random"}}, "retry/backoff: must be one of"),
        ({"retry": {"base": 10, "max": 1}}, "retry/base: base .* is longer than max"),
        ({"retry": "often"}, "retry: must be an object"),
    ],
)
def test_an_option_that_no_job_could_have_is_refused_at_registration(options, named):
    with pytest.raises(InvalidRequest, match=named):
        Ledger().job("t", **options)


def test_a_policy_that_the_settings_complete_is_not_judged_before_they_are_known():
    for retry in ({"base": "2h"}, {"max": "1s"}, {"jitter": "none"}):
        assert Ledger().job("t", retry=retry)(by_name).options == {"retry": retry}


def test_a_type_that_no_job_could_have_is_refused_at_registration():
    with pytest.raises(InvalidRequest, match="type: must be"):
        Ledger().job("two words")


def yields(to: str):
    yield to


async def yields_later(to: str):
    yield to


@pytest.mark.parametrize("function", [yields, yields_later])
def test_a_generator_is_refused_for_it_would_never_run(function):
    with pytest.raises(ValueError, match="never run"):
        register(function)


def test_an_executor_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no executor 'proces'; it is one of thread, process"):
        Ledger().job("t", executor="proces")(by_name)


def test_an_object_that_is_called_asynchronously_is_awaited():
    class Sends:
        async def __call__(self, to: str) -> str:
            return to

    handler = register(Sends())
    assert handler.is_async
    with testing.inline(ledger := Ledger()):
        assert ledger.get(ledger.job("t")(Sends()).enqueue(to="a")).result == "a"


def test_middleware_that_cannot_be_called_is_refused_at_once():
    for use in (Ledger().use, Ledger().use_on_enqueue):
        with pytest.raises(ValueError, match="cannot be called"):
            use("no function")
