"""The verbs on one job: what they change, from where they are allowed, and the versions they demand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger import ids
from tests.support.api import problem, wrong

VERBS = ("cancel", "retry", "run-now")


@pytest.fixture
def dead(lives) -> str:
    job_id = lives.enqueue()
    lives.die(job_id)
    return str(job_id)


def last_event(api, job_id):
    return api.get(f"/jobs/{job_id}/events").json[-1]


def test_d16_a_running_job_is_cancelled(api, lives):
    job_id = lives.enqueue()
    lives.lease(job_id)
    answer = api.post(f"/jobs/{job_id}/cancel", {"reason": "not needed"})
    assert (answer.status_code, answer.json["state"], answer.headers["ETag"]) == (200, "cancelled", '"3"')
    event = last_event(api, job_id)
    assert event["data"] == {"cause": "requested", "reason": "not needed"}
    assert event["actor"] == "api:anonymous"


def test_cancelling_twice_adds_nothing(api, lives):
    job_id = lives.enqueue()
    first, second = api.post(f"/jobs/{job_id}/cancel"), api.post(f"/jobs/{job_id}/cancel")
    assert second.status_code == 200
    assert second.json == first.json


def test_delete_is_a_cancel_and_erases_nothing(api, lives):
    job_id = lives.enqueue()
    answer = api.delete(f"/jobs/{job_id}?reason=by+mistake")
    assert (answer.status_code, answer.json["status"], answer.json["state"]) == (200, "deleted", "cancelled")
    assert last_event(api, job_id)["data"]["reason"] == "by mistake"
    assert "status" not in api.get(f"/jobs/{job_id}").json


def test_d45_deleting_what_is_not_there_is_not_found(api):
    problem(api.delete(f"/jobs/{ids.mint()}"), 404, "not_found")
    problem(api.delete("/jobs/x"), 404, "not_found")
    problem(api.delete(f"/dlq/{ids.mint()}"), 404, "not_found")


def test_an_ended_job_is_not_cancelled(api, lives):
    job_id = lives.enqueue()
    lives.run(job_id)
    found = problem(api.post(f"/jobs/{job_id}/cancel"), 409, "state_conflict")
    assert (found["state"], found["version"]) == ("succeeded", 3)
    problem(api.delete(f"/jobs/{job_id}"), 409, "state_conflict")


def test_a_dead_job_is_retried_at_once_or_later(api, dead, lives):
    job = api.post(f"/jobs/{dead}/retry", {"reason": "mended"}).json
    assert (job["state"], job["retry_count"], job["crash_count"], job["completed_at"]) == ("ready", 0, 0, None)
    problem(api.post(f"/jobs/{dead}/retry"), 409, "state_conflict")
    lives.die(ids.parse(dead))
    later = api.post(f"/jobs/{dead}/retry", {"delay": "1h"}).json
    assert (later["state"], later["attempt"]) == ("retrying", 2)
    assert later["run_at"] is not None


def test_a_scheduled_job_is_run_now(api):
    job = api.post("/jobs", {"type": "a", "delay": "1h"}).json
    answer = api.post(f"/jobs/{job['id']}/run-now", {"reason": "in a hurry"})
    assert (answer.json["state"], answer.json["run_at"]) == ("ready", None)
    assert answer.json["scheduled_at"] == job["scheduled_at"]
    assert last_event(api, job["id"])["data"] == {"reason": "run_now", "note": "in a hurry"}
    problem(api.post(f"/jobs/{job['id']}/run-now"), 409, "state_conflict")


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_on_nothing_is_not_found(api, verb):
    problem(api.post(f"/jobs/{ids.mint()}/{verb}"), 404, "not_found")
    problem(api.post(f"/jobs/junk/{verb}"), 404, "not_found")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"reason": 1}, "/reason"),
        ({"reason": None}, "/reason"),
        ({"reason": "x" * 501}, "/reason"),
        ({"who": "me"}, "/who"),
    ],
)
def test_a_bad_word_about_a_verb_is_refused(api, dead, verb, body, pointer):
    assert wrong(problem(api.post(f"/jobs/{dead}/{verb}", body), 422, "validation_failed")) == {pointer}


@pytest.mark.parametrize("delay", ["1d", 5, None, "-1s", "6000000h"])
def test_a_bad_delay_of_a_retry_is_refused(api, dead, delay):
    refused = api.post(f"/jobs/{dead}/retry", {"delay": delay})
    assert wrong(problem(refused, 422, "validation_failed")) == {"/delay"}


def test_a_verb_needs_no_body_and_no_media_type(api, dead):
    for body in (None, b""):
        assert api.post(f"/jobs/{dead}/cancel", body).status_code == 409
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "0"}
    assert api.send("POST", f"/jobs/{dead}/cancel", headers=headers).status_code == 409
    problem(api.send("POST", f"/jobs/{dead}/cancel", body="reason=x"), 415, "unsupported_media_type")
    problem(api.post(f"/jobs/{dead}/cancel", b"[]"), 400, "malformed_request")
    problem(api.post(f"/jobs/{dead}/cancel", b" " * 70_000), 413, "too_large")
    problem(api.post(f"/jobs/{dead}/cancel?force=1"), 400, "invalid_parameter")


def test_a_version_of_a_job_may_be_demanded(api, lives):
    job_id = lives.enqueue()
    lives.lease(job_id)
    found = problem(api.post(f"/jobs/{job_id}/cancel", headers={"If-Match": '"1"'}), 412, "precondition_failed")
    assert found["version"] == 2
    for stale in ('W/"2"', '"x"', '"1", "3"'):
        problem(api.delete(f"/jobs/{job_id}", headers={"If-Match": stale}), 412, "precondition_failed")
    for bad in ("2", '"2', "", '"2" "3"'):
        problem(api.delete(f"/jobs/{job_id}", headers={"If-Match": bad}), 400, "invalid_parameter")
    assert api.post(f"/jobs/{job_id}/cancel", headers={"If-Match": '"1", "2"'}).status_code == 200
    assert api.post(f"/jobs/{job_id}/cancel", headers={"If-Match": "*"}).status_code == 200


def test_d31_pressed_many_times_at_once_a_retry_happens_once(api, dead):
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: api.post(f"/dlq/{dead}/retry"), range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409, 409]
    kinds = [event["kind"] for event in api.get(f"/jobs/{dead}/events").json]
    assert kinds.count("retried") == 1


@pytest.mark.parametrize("tag", ['"01"', '"001"', '"0"'])
def test_a_version_has_one_spelling(api, lives, tag):
    job_id = lives.enqueue()
    problem(api.send("POST", f"/jobs/{job_id}/cancel", headers={"If-Match": tag}), 412, "precondition_failed")
    assert api.get(f"/jobs/{job_id}", headers={"If-None-Match": tag}).status_code == 200


def test_a_reason_may_be_empty_in_a_query_as_in_a_body(api, lives):
    for reason in ("", "reason="):
        assert api.delete(f"/jobs/{lives.enqueue()}?{reason}").status_code == 200
    assert api.post(f"/jobs/{lives.enqueue()}/cancel", {"reason": ""}).status_code == 200
