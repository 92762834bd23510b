"""T18: whatever a client sends is done exactly as asked or refused as its own fault; it is never our failure."""

from __future__ import annotations

import json
import string
from urllib.parse import quote

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.requests import MEMBERS
from tests.support.api import NOBODY

SHARED = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**66), 2**66),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["0", "0s", "90s", "1h30m", "PT5M", "1d", "-1s", "2026-11-24T08:00:00Z", "2100-01-01T00:00:00+14:00"]
    ),
    st.sampled_from(["critical", "urgent", "linear", "full", NOBODY, "a", "a" * 101, "\x00", "é"]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
TYPES = st.text(string.ascii_letters + string.digits, min_size=1, max_size=100)
KEEPABLE = st.characters(exclude_characters="\0", exclude_categories=("Cs",))
OPTIONS = {
    "payload": st.dictionaries(st.text(KEEPABLE, max_size=5), st.integers(-(2**63), 2**63 - 1), max_size=3),
    "queue": st.text(string.ascii_letters, min_size=1, max_size=50),
    "priority": st.sampled_from(["critical", "high", "medium", "low"]),
    "max_retries": st.integers(0, 1000),
    "timeout_seconds": st.integers(1, 604_800),
    "metadata": st.dictionaries(
        st.text(string.printable, min_size=1, max_size=9), st.text(string.printable, max_size=9)
    ),
    "correlation_id": st.text(string.ascii_letters, min_size=1, max_size=128),
}
REQUESTS = st.fixed_dictionaries({"type": TYPES}, optional=OPTIONS)
BODIES = st.one_of(
    REQUESTS,
    st.fixed_dictionaries({}, optional=dict.fromkeys(sorted(MEMBERS), JSON)),
    st.builds(lambda good, name, value: good | {name: value}, REQUESTS, st.sampled_from(sorted(MEMBERS)), JSON),
)  # fmt: skip


def dumps(value) -> bytes:
    """Return the value as JSON, or nearly: NaN, lone surrogates and large integers come out as they are."""
    return json.dumps(value).encode()


@SHARED
@given(BODIES)
def test_t18_a_body_is_done_as_asked_or_refused(api, body):
    answer = api.post("/jobs", dumps(body))
    assert answer.status_code in (201, 400, 409, 413, 422), answer.text
    if answer.status_code == 201:
        job = answer.json
        for name in ("type", *OPTIONS.keys() & body.keys()):
            assert job[name] == body[name], name
    else:
        assert answer.json["code"]


@SHARED
@given(REQUESTS)
def test_t18_a_good_body_is_taken(api, body):
    answer = api.post("/jobs", orjson.dumps(body))
    assert answer.status_code == 201, answer.text


@SHARED
@given(st.binary(max_size=60), st.sampled_from(["/jobs", f"/jobs/{NOBODY}/cancel", f"/dlq/{NOBODY}/retry"]))
def test_t18_bytes_that_are_nothing_are_refused(api, body, path):
    assert 400 <= api.post(path, body).status_code < 500


@SHARED
@given(
    st.sampled_from(["/jobs", "/dlq", "/queues/x/stats", f"/jobs/{NOBODY}", f"/jobs/{NOBODY}/events"]),
    st.lists(
        st.tuples(
            st.sampled_from(
                ["state", "type", "queue", "priority", "worker_id", "schedule_id", "created_after", "order", "include",
                 "limit", "cursor", "offset", "error_contains", "failed_after", "window", "version", "as_of", "x"]
            ),
            st.one_of(st.text(max_size=12), SCALARS.map(str)),
        ),
        max_size=4,
    ),
)  # fmt: skip
def test_t18_parameters_are_understood_or_refused(api, refresh, path, parameters):
    refresh()
    query = "&".join(f"{name}={quote(value, errors='replace')}" for name, value in parameters)
    assert api.get(f"{path}?{query}").status_code in (200, 400, 404)


@SHARED
@given(
    st.text(max_size=45).filter(lambda text: text not in ("", ".", "..")), st.sampled_from(["jobs", "dlq", "queues"])
)
def test_t18_a_path_names_something_or_nothing(api, refresh, text, room):
    refresh()
    part = quote(text, safe="", errors="replace")
    for path in (f"/{room}/{part}", f"/{room}/{part}/events", f"/{room}/{part}/depth"):
        assert api.get(path).status_code in (200, 404)


@SHARED
@given(
    st.sampled_from(
        ["If-Match", "If-None-Match", "Idempotency-Key", "X-Request-Id", "traceparent", "Content-Type", "Origin"]
    ),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30),
)
def test_t18_headers_are_understood_or_refused(api, header, value):
    for answer in (
        api.post("/jobs", {"type": "a"}, headers={header: value}),
        api.post(f"/jobs/{NOBODY}/cancel", {}, headers={header: value}),
        api.get(f"/jobs/{NOBODY}", headers={header: value}),
    ):
        assert answer.status_code in (201, 400, 403, 404, 415, 422), answer.text
