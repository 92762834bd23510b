"""POST /jobs: what is taken and given back, what is refused and how, and that a key makes one job."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from ledger import ids
from ledger.codec import rfc3339
from tests.support.api import problem, wrong

JOB_MEMBERS = {
    "id", "type", "payload", "queue", "priority", "state", "version", "attempt", "max_retries", "retry_count",
    "crash_count", "timeout_seconds", "retry", "scheduled_at", "run_at", "expires_at", "deadline", "created_at",
    "started_at", "completed_at", "last_error", "result", "worker_id", "metadata", "idempotency_key", "correlation_id",
    "schedule_id", "tick_at",
}  # fmt: skip


def test_a_job_is_made_with_every_member_present(api):
    made = api.post("/jobs", {"type": "email.send"})
    assert made.status_code == 201
    job = made.json
    assert job.keys() == JOB_MEMBERS
    assert made.headers["Location"] == f"/api/v1/jobs/{job['id']}"
    assert made.headers["ETag"] == '"1"'
    assert "Idempotency-Replayed" not in made.headers
    shown = ("state", "queue", "priority", "payload", "max_retries", "timeout_seconds")
    assert [job[name] for name in shown] == ["ready", "default", "medium", {}, 3, 300]
    assert job["created_at"].endswith("Z")
    assert job["correlation_id"] == job["id"]
    assert job["retry"] == {"backoff": "exponential", "base_seconds": 10, "max_seconds": 3600, "jitter": "equal"}


def test_every_option_is_honoured(api, ledger):
    at, expires = (rfc3339(ledger.now() + timedelta(hours=h)) for h in (1, 2))
    asked = {
        "type": "a.b:c-d_e",
        "payload": {"n": 1},
        "queue": "mail.fast",
        "priority": "critical",
        "max_retries": 0,
        "timeout": "1h30m",
        "scheduled_at": at,
        "expires_at": expires,
        "deadline": expires,
        "retry": {"backoff": "linear", "base": "PT2S", "max": "1m", "jitter": "none"},
        "metadata": {"stream": "mine", "message_id": "too"},
        "id": str(ids.mint()),
        "idempotency_key": "order 7",
        "correlation_id": "order-7",
    }
    job = api.post("/jobs", asked).json
    same = (
        "type", "payload", "queue", "priority", "max_retries", "scheduled_at", "expires_at", "deadline", "metadata",
        "id",
    )  # fmt: skip
    assert {name: job[name] for name in same} == {name: asked[name] for name in same}
    assert (job["state"], job["run_at"], job["timeout_seconds"]) == ("scheduled", at, 5400)
    assert job["retry"] == {"backoff": "linear", "base_seconds": 2, "max_seconds": 60, "jitter": "none"}
    assert (job["idempotency_key"], job["correlation_id"]) == ("order 7", "order-7")


def test_payload_bytes_are_given_back_exactly(api):
    payload = b'{ "b":1.10,"a" : [1E2, 12345678901234567890],"\\u00e9":"\\u2028\\/" }'
    made = api.post("/jobs", b'{"type":"a", "payload":' + payload + b"}")
    assert payload in made.content
    assert payload in api.get(f"/jobs/{made.json['id']}").content
    assert payload in api.get(f"/jobs/{made.json['id']}/events").content


def test_d37_critical_stays_critical(api):
    for priority in ("critical", "high", "medium", "low"):
        assert api.post("/jobs", {"type": "a", "priority": priority}).json["priority"] == priority


@pytest.mark.parametrize("delay", ["1d", "1 hour", "90", 90, "-1s", "soon", "", None, "6y", "P1M"])
def test_d38_a_bad_delay_is_refused(api, delay):
    assert wrong(problem(api.post("/jobs", {"type": "a", "delay": delay}), 422, "validation_failed")) == {"/delay"}


def test_d38_a_good_delay_is_waited_for(api):
    assert api.post("/jobs", {"type": "a", "delay": "1h"}).json["state"] == "scheduled"
    assert api.post("/jobs", {"type": "a", "delay": "0s"}).json["state"] == "ready"


def test_nothing_is_put_off_for_more_than_five_years(api):
    begin = datetime.now(UTC)
    for allowed in ({"delay": f"{5 * 365 * 24}h"}, {"scheduled_at": (begin + timedelta(days=5 * 365)).isoformat()}):
        assert api.post("/jobs", {"type": "t", **allowed}).status_code == 201
    late = begin + timedelta(days=5 * 365 + 3)
    for refused in ({"delay": f"{(5 * 365 + 3) * 24}h"}, {"scheduled_at": late.isoformat()}):
        assert wrong(problem(api.post("/jobs", {"type": "t", **refused}), 422, "validation_failed")) == {
            f"/{next(iter(refused))}"
        }


def test_d39_no_retries_means_none(api):
    assert api.post("/jobs", {"type": "a", "max_retries": 0}).json["max_retries"] == 0
    for bad in (-1, 1001, 1.5, "3", True, None):
        refused = api.post("/jobs", {"type": "a", "max_retries": bad})
        assert wrong(problem(refused, 422, "validation_failed")) == {"/max_retries"}


@pytest.mark.parametrize("timeout", ["forever", "", 5, "0s", "169h", [], {}, None, 10**15])
def test_d40_a_bad_timeout_is_refused(api, timeout):
    assert wrong(problem(api.post("/jobs", {"type": "a", "timeout": timeout}), 422, "validation_failed")) == {
        "/timeout"
    }


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"type":"a","payload":null}', "/payload"),
        (b'{"type":"a","payload":[1]}', "/payload"),
        (b'{"type":"a","payload":"x"}', "/payload"),
        (b'{"type":"a","colour":1}', "/colour"),
        (b'{"type":"a","type":"b"}', "/type"),
        (b'{"type":"a","payload":{"x":{"y":1,"y":1}}}', "/payload/x/y"),
        (b'{"type":"a","payload":{"x":[0,1180591620717411303424]}}', "/payload/x/1"),
        (b'{"type":"a","payload":{"x":-9223372036854775809}}', "/payload/x"),
        (b'{"type":"a","payload":{"x":1e400}}', "/payload/x"),
        (b'{"type":"a","payload":{"x":"\\u0000"}}', "/payload/x"),
        (b'{"type":"a","payload":{"x":"\\ud800"}}', "/payload/x"),
        (b'{"type":"a","payload":{"x":' + b"[" * 64 + b"]" * 64 + b"}}", ""),
        (b'{"type":"a","payload":{"x":' + b"[" * 5000 + b"]" * 5000 + b"}}", ""),
        (b'{"type":"a","metadata":{"k":1}}', "/metadata/k"),
        (b'{"type":"a","queue":null}', "/queue"),
        (b'{"type":"a","queue":"no spaces"}', "/queue"),
        (b'{"type":"a","priority":"urgent"}', "/priority"),
        (b'{"type":"a","id":"01980000-0000-7000-8000-000000000000"}', "/id"),
        (b'{"type":"a","id":"7b7b6f3e-9d0f-4c0e-8a43-6cb1b2a0d0f1"}', "/id"),
        (b'{"type":"a","scheduled_at":"2026-11-24T08:00:00"}', "/scheduled_at"),
        (b'{"type":"a","expires_at":"2020-01-01T00:00:00Z"}', "/expires_at"),
        (b'{"type":"a","retry":{"base":"1h","max":"1m"}}', "/retry/base"),
    ],
)
def test_d41_json_that_we_refuse_is_unprocessable(api, body, pointer):
    found = problem(api.post("/jobs", body), 422, "validation_failed")
    assert pointer in wrong(found), found


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b'"text"',
        b"null",
        b'{"type":"a"} ',
        b'{"type":"a"}{}',
        b'{"type":"a"} trailing',
        b'{"type":NaN}',
        b'{"type":"a","payload":{"x":Infinity}}',
        b'{"type":"\xff"}',
        b'{"type":"\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
        b'{"type":"a",}',
        b'{"type":"a\nb"}',
        b'{"type":01}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_d41_what_is_not_one_json_object_is_malformed(api, body):
    result = api.post("/jobs", body)
    if body == b'{"type":"a"} ':
        assert result.status_code == 201
    else:
        problem(result, 400, "malformed_request")


def test_d41_a_payload_over_the_limit_is_too_large(api):
    fits = b'{"type":"a","payload":{"x":"' + b"x" * (2**20 - 8) + b'"}}'
    assert api.post("/jobs", fits).status_code == 201
    assert wrong(problem(api.post("/jobs", fits.replace(b"xx", b"xxx", 1)), 413, "too_large")) == {"/payload"}
    problem(api.post("/jobs", b" " * (2**20 + 2**16 + 1)), 413, "too_large")


def test_all_bad_members_are_named_at_once(api):
    body = {"payload": 1, "queue": "?", "priority": 1, "delay": "x", "colour": 1, "retry": {"base": 1, "hue": 1}}
    assert wrong(problem(api.post("/jobs", body), 422, "validation_failed")) == {
        "/type", "/payload", "/queue", "/priority", "/delay", "/colour", "/retry/base", "/retry/hue",
    }  # fmt: skip


def test_the_words_of_the_original_are_kept(api):
    assert problem(api.post("/jobs", {}), 422, "validation_failed")["error"] == "job type is required"
    assert problem(api.get(f"/jobs/{ids.mint()}"), 404, "not_found")["error"] == "job not found"
    assert problem(api.get("/dlq/nothing"), 404, "not_found")["error"] == "job not found in DLQ"


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
def test_a_body_of_another_media_type_is_refused(api, media_type):
    problem(api.post("/jobs", {"type": "a"}, headers={"Content-Type": media_type}), 415, "unsupported_media_type")


def test_a_body_without_a_media_type_is_refused(api):
    problem(api.send("POST", "/jobs", body='{"type":"a"}'), 415, "unsupported_media_type")


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON;charset=UTF-8"])
def test_the_charset_may_be_said(api, media_type):
    assert api.post("/jobs", {"type": "a"}, headers={"Content-Type": media_type}).status_code == 201


def test_a_compressed_body_is_refused(api):
    problem(api.post("/jobs", b"x", headers={"Content-Encoding": "gzip"}), 415, "unsupported_media_type")


def test_the_order_of_refusal(api):
    """405 before 415 before 413 before 400 before 422 before 404 before 412 before 409."""
    large = b"x" * (2**20 + 2**17)
    problem(api.send("PUT", "/jobs", body=large), 405, "method_not_allowed")
    problem(api.send("POST", "/jobs?x=1", body=large), 415, "unsupported_media_type")
    problem(api.post("/jobs?x=1", large), 413, "too_large")
    problem(api.post("/jobs?x=1", {}), 400, "invalid_parameter")
    problem(api.post("/jobs", {}, headers={"Idempotency-Key": "\t"}), 400, "invalid_parameter")
    unknown = f"/jobs/{ids.mint()}/cancel"
    problem(api.post(unknown, {"reason": 1}, headers={"If-Match": "bad"}), 400, "invalid_parameter")
    problem(api.post(unknown, {"reason": 1}, headers={"If-Match": '"7"'}), 422, "validation_failed")
    problem(api.post(unknown, headers={"If-Match": '"7"'}), 404, "not_found")
    job = api.post("/jobs", {"type": "a"}).json
    problem(api.post(f"/jobs/{job['id']}/retry", headers={"If-Match": '"7"'}), 412, "precondition_failed")
    problem(api.post(f"/jobs/{job['id']}/retry", headers={"If-Match": '"1"'}), 409, "state_conflict")


def test_a_taken_id_is_a_conflict(api):
    job = api.post("/jobs", {"type": "a", "id": str(ids.mint())}).json
    problem(api.post("/jobs", {"type": "b", "id": job["id"]}), 409, "job_exists")


def test_the_same_key_and_request_is_the_same_job(api, name):
    key = {"Idempotency-Key": name}
    first = api.post("/jobs", b'{"type":"a","payload":{"x":1,"y":2}}', headers=key)
    api.post(f"/jobs/{first.json['id']}/cancel")
    again = api.post("/jobs", b'{"payload":{"y":2, "x":1},"type":"a"}', headers=key)
    assert again.status_code == 201
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.json["id"], again.json["state"]) == (first.json["id"], "cancelled")


def test_the_same_key_for_another_request_is_refused(api, name):
    key = {"Idempotency-Key": name}
    api.post("/jobs", {"type": "a"}, headers=key)
    problem(api.post("/jobs", {"type": "b"}, headers=key), 422, "idempotency_key_reused")
    problem(api.post("/jobs", {"type": "a", "payload": {"x": 1}}, headers=key), 422, "idempotency_key_reused")


def test_a_key_in_header_and_body_must_be_one(api, name):
    key = {"Idempotency-Key": name}
    assert api.post("/jobs", {"type": "a", "idempotency_key": name}, headers=key).status_code == 201
    refused = api.post("/jobs", {"type": "a", "idempotency_key": "order-2"}, headers=key)
    assert wrong(problem(refused, 422, "validation_failed")) == {"/idempotency_key"}


@pytest.mark.parametrize("key", ["", "x" * 256, "ä"])
def test_a_bad_key_is_refused(api, key):
    refused = problem(api.post("/jobs", {"type": "a"}, headers={"Idempotency-Key": key}), 400, "invalid_parameter")
    assert wrong(refused) == {"Idempotency-Key"}


def test_t7_many_requests_with_one_key_make_one_job(api):
    def send(_):
        return api.post("/jobs", {"type": "a"}, headers={"Idempotency-Key": "once"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(24)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert len(api.get(f"/jobs/{answers[0].json['id']}/events").json) == 1


def test_a_request_can_be_a_part_of_a_trace(api):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    job = api.post("/jobs", {"type": "a"}, headers={"traceparent": trace}).json
    (event,) = api.get(f"/jobs/{job['id']}/events").json
    assert (event["traceparent"], event["actor"]) == (trace, "api:anonymous")
    job = api.post("/jobs", {"type": "a"}, headers={"traceparent": "00-junk"}).json
    assert api.get(f"/jobs/{job['id']}/events").json[0]["traceparent"] is None


def test_what_is_acknowledged_is_read_at_once(api):
    made = api.post("/jobs", {"type": "a"})
    assert api.get(f"/jobs/{made.json['id']}").json == made.json


def test_a_body_may_be_valid_json_in_other_spellings(api):
    body = b' \r\n{"type":"caf\\u0065","payload":{"\xc3\xa9":"\\ud83d\\ude00"}}\n'
    assert orjson.loads(api.post("/jobs", body).content)["type"] == "cafe"
