"""One typed parameter takes the whole payload, and what does not fit is named by its path, here and at the worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, TypedDict
from uuid import UUID

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict

from ledger import InvalidRequest, Job, Ledger, Token

JOB_ID = UUID("01980000-0000-7000-8000-000000000000")


class Address(msgspec.Struct):
    street: str
    zip: int


class Order(msgspec.Struct):
    number: int
    address: Address
    lines: list[str] = []


@dataclass
class Parcel:
    weight: float
    to: Address


class Point(TypedDict):
    x: int
    y: int


class Card(BaseModel):
    model_config = ConfigDict(strict=True)
    holder: str
    expires: date


class Payment(BaseModel):
    amount: int
    cards: list[Card] = []


def run(function, body: bytes):
    job = Job(
        id=JOB_ID, type="t", body=body, queue="default", priority="medium", attempt=1, retry_count=0, max_retries=3,
        timeout=timedelta(seconds=1), metadata={}, token=Token(JOB_ID, 2), correlation_id="c", worker_id="w",
    )  # fmt: skip
    return Ledger().job("t")(function).run(job)


def a_struct(order: Order):
    return order


def a_dataclass(job: Job, parcel: Parcel):
    return (job.id, parcel)


def a_typed_dict(point: Point):
    return point


def a_model(payment: Payment):
    return payment


def an_annotated_struct(order: Annotated[Order, "the order"]):
    return order


def two_structs(order: Order, address: Address):
    return (order, address)


def a_model_among_others(n: int, card: Card):
    return (n, card)


def a_bounded_member(n: Annotated[int, msgspec.Meta(ge=1)]):
    return n


ORDER = b'{"number": 7, "address": {"street": "High", "zip": 1}}'
CARD = b'{"holder": "me", "expires": "2030-01-02"}'


@pytest.mark.parametrize(
    ("function", "body", "result"),
    [
        (a_struct, ORDER, Order(7, Address("High", 1))),
        (an_annotated_struct, ORDER, Order(7, Address("High", 1))),
        (a_dataclass, b'{"weight": 1, "to": {"street": "a", "zip": 2}}', (JOB_ID, Parcel(1, Address("a", 2)))),
        (a_typed_dict, b'{"x": 1, "y": 2}', {"x": 1, "y": 2}),
        (a_model, b'{"amount": 5, "cards": [' + CARD + b"]}",
         Payment(amount=5, cards=[Card(holder="me", expires=date(2030, 1, 2))])),
        (two_structs, b'{"order": ' + ORDER + b', "address": {"street": "b", "zip": 3}}',
         (Order(7, Address("High", 1)), Address("b", 3))),
        (a_model_among_others, b'{"n": 1, "card": ' + CARD + b"}",
         (1, Card(holder="me", expires=date(2030, 1, 2)))),
    ],
)  # fmt: skip
def test_a_payload_becomes_the_type_that_is_asked_for(function, body, result):
    assert run(function, body) == result


@pytest.mark.parametrize(
    ("function", "body", "path", "pointer"),
    [
        (a_struct, b'{"number": 1, "address": {"street": "a", "zip": "b"}}', "$.address.zip", "/payload/address/zip"),
        (a_struct, b'{"number": 1, "address": {"street": "a"}}', "$.address.zip", "/payload/address/zip"),
        (a_struct, b'{"number": 1, "address": {"street": "a", "zip": 1}, "lines": ["x", 2]}', "$.lines[1]",
         "/payload/lines/1"),
        (a_struct, b"{}", "$.number", "/payload/number"),
        (a_dataclass, b'{"weight": 1, "to": {"street": 1, "zip": 2}}', "$.to.street", "/payload/to/street"),
        (a_typed_dict, b'{"x": 1}', "$.y", "/payload/y"),
        (a_model, b'{"amount": "no"}', "$.amount", "/payload/amount"),
        (a_model, b'{"amount": 1, "cards": [{"holder": 2, "expires": "2030-01-02"}]}', "$.cards[0].holder",
         "/payload/cards/0/holder"),
        (a_model_among_others, b'{"n": 1, "card": {"holder": "x", "expires": 5}}', "$.card.expires",
         "/payload/card/expires"),
        (a_bounded_member, b'{"n": 0}', "$.n", "/payload/n"),
        (a_bounded_member, b'{"n": 1, "m": 2}', "$.m", "/payload/m"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_by_its_path(function, body, path, pointer):
    with pytest.raises(InvalidRequest) as refused:
        run(function, body)
    (breach,) = refused.value.breaches
    assert breach.pointer == pointer
    assert breach.detail.endswith(f" - at `{path}`")


@pytest.mark.parametrize(
    ("function", "arguments", "body"),
    [
        (a_struct, {"order": Order(7, Address("a", 1))}, b'{"number":7,"address":{"street":"a","zip":1},"lines":[]}'),
        (a_struct, {"number": 7, "address": {"street": "a", "zip": 1}},
         b'{"number":7,"address":{"street":"a","zip":1}}'),
        (a_model, {"payment": Payment(amount=3)}, b'{"amount":3,"cards":[]}'),
        (a_model_among_others, {"n": 1, "card": Card(holder="me", expires=date(2030, 1, 2))},
         b'{"n":1,"card":{"holder":"me","expires":"2030-01-02"}}'),
    ],
)  # fmt: skip
def test_a_typed_value_is_enqueued_as_its_members(function, arguments, body):
    assert Ledger().job("t")(function).encode(arguments) == body


def test_a_wrong_argument_is_the_callers_error_before_anything_is_on_record():
    handler = Ledger().job("t")(a_struct)
    with pytest.raises(InvalidRequest, match=r"payload/address/zip.* - at `\$\.address\.zip`"):
        handler.enqueue(number=1, address={"street": "a", "zip": "b"})
