"""Events as rows and back: nothing is lost, bytes stay bytes, old rows are lifted, rubbish is named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import codec
from ledger.errors import CorruptHistory
from ledger.events import KINDS, Cancelled, Enqueued, Event, Failed, Kind, Leased, Request, Scheduled, Succeeded
from tests.support import strategies
from tests.support.histories import ENQUEUED, NOON, REQUEST


def through_a_row(event: Event, version: int) -> Event:
    data, body = codec.encode(event)
    return codec.decode(KINDS[type(event)], version, codec.SCHEMA_VERSION, orjson.dumps(data), body)


@given(strategies.first_events)
def test_a_first_event_survives(event):
    assert through_a_row(event, 1) == event


@pytest.mark.parametrize("kind", Kind)
@given(data=st.data())
def test_a_later_event_of_each_kind_survives(kind, data):
    event = data.draw(strategies.later_events_of[kind])

    assert through_a_row(event, 2) == event


def test_every_kind_has_a_type_and_every_type_a_kind():
    assert set(KINDS) == set(get_args(Event))
    assert set(KINDS.values()) == set(Kind)


@given(strategies.events)
def test_members_without_a_value_are_left_out(event):
    data, _ = codec.encode(event)

    assert None not in data.values()


def test_a_payload_is_kept_apart_from_the_data():
    data, body = codec.encode(ENQUEUED)

    assert body is REQUEST.payload
    assert "payload" not in data
    assert data["type"] == "email.send"


def test_a_result_is_kept_apart_from_the_data():
    assert codec.encode(Succeeded(1.5, b'{"n": 1}')) == ({"duration_ms": 1.5}, b'{"n": 1}')


def test_a_first_event_without_a_body_has_an_empty_payload():
    data, _ = codec.encode(ENQUEUED)

    event = codec.decode(Kind.ENQUEUED, 1, 1, orjson.dumps(data), None)

    assert event.request.payload == b"{}"


def test_times_are_written_in_utc_to_the_microsecond():
    elsewhere = NOON.astimezone(timezone(-timedelta(hours=5)))
    data, _ = codec.encode(Scheduled(run_at=elsewhere))

    assert data == {"run_at": "2026-11-24T12:00:00.000000Z"}
    assert codec.rfc3339(datetime(2026, 1, 1, 0, 0, 0, 7, tzinfo=UTC)) == "2026-01-01T00:00:00.000007Z"


def test_years_before_1000_are_written_with_four_digits():
    assert codec.rfc3339(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01T00:00:00.000000Z"


class TestPresentData:
    def test_the_users_json_is_back_in_its_place_byte_for_byte(self):
        request = Request(type="t", payload=b'{ "n": 1.50 }')

        shown = orjson.dumps(codec.present_data(Enqueued(request=request)))

        assert b'"payload":{ "n": 1.50 }' in shown
        assert orjson.loads(shown)["type"] == "t"

    def test_a_result_is_shown_as_result(self):
        assert orjson.dumps(codec.present_data(Succeeded(2.0, b"[1, 2]"))) == b'{"duration_ms":2.0,"result":[1, 2]}'

    def test_an_event_without_a_body_shows_its_data(self):
        assert codec.present_data(Cancelled(cause="expired")) == {"cause": "expired"}


class TestUpcasting:
    @pytest.fixture
    def third_version(self, monkeypatch):
        """A code base in which `leased` has changed twice: `worker` became `worker_id`, then `attempt` was added."""
        monkeypatch.setattr(codec, "SCHEMA_VERSION", 3)
        monkeypatch.setitem(
            codec.UPCASTERS, (Kind.LEASED, 1), lambda d: {"worker_id": d["worker"], "nonce": d["nonce"]}
        )
        monkeypatch.setitem(codec.UPCASTERS, (Kind.LEASED, 2), lambda d: d | {"attempt": 1})

    @pytest.mark.parametrize(
        ("schema_version", "row"),
        [
            (1, b'{"worker":"w1","nonce":"n"}'),
            (2, b'{"worker_id":"w1","nonce":"n"}'),
            (3, b'{"worker_id":"w1","nonce":"n","attempt":1}'),
        ],
    )
    def test_an_old_row_is_lifted_step_by_step(self, third_version, schema_version, row):
        assert codec.decode(Kind.LEASED, 2, schema_version, row, None) == Leased("w1", 1, "n")

    def test_a_kind_that_never_changed_needs_no_lifting(self, third_version):
        assert codec.decode(Kind.CANCELLED, 2, 1, b'{"cause":"expired"}', None) == Cancelled(cause="expired")

    def test_a_first_events_request_is_lifted_too(self, third_version, monkeypatch):
        monkeypatch.setitem(codec.UPCASTERS, (Kind.ENQUEUED, 2), lambda d: {"type": d.pop("task"), **d})

        event = codec.decode(Kind.ENQUEUED, 1, 1, b'{"task":"old.name","max_retries":7}', b'{"a":1}')

        assert event == Enqueued(request=Request(type="old.name", max_retries=7, payload=b'{"a":1}'))

    def test_an_upcaster_that_fails_is_named_as_a_corrupt_history(self, third_version):
        with pytest.raises(CorruptHistory, match="leased event at version 2"):
            codec.decode(Kind.LEASED, 2, 1, b"{}", None)


@pytest.mark.parametrize(
    ("kind", "version", "row"),
    [
        (Kind.LEASED, 2, b"{}"),
        (Kind.LEASED, 2, b'{"worker_id":1,"attempt":1,"nonce":"n"}'),
        (Kind.SCHEDULED, 2, b'{"run_at":"tomorrow"}'),
        (Kind.ENQUEUED, 1, b"{}"),
        (Kind.ENQUEUED, 1, b'{"type":"t","retry":{"jitter":"some"}}'),
        (Kind.CANCELLED, 2, b"[]"),
        (Kind.CANCELLED, 2, b"not json"),
    ],
)
def test_a_row_that_holds_no_event_is_corrupt(kind, version, row):
    with pytest.raises(CorruptHistory, match=f"a {kind} event at version {version} cannot be read"):
        codec.decode(kind, version, 1, row, None)


def test_members_a_newer_version_added_are_passed_over():
    event = codec.decode(Kind.FAILED, 3, 1, b'{"error_type":"E","error_message":"m","mood":"sad"}', None)

    assert event == Failed("E", "m")
