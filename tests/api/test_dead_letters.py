"""The dead-letter queue: listed, named by either id, left by retry or discard, and never by the wrong death."""

from __future__ import annotations

import pytest

from ledger import ids
from tests.support.api import NOBODY, problem, wrong
from tests.support.lives import FAILURE


@pytest.fixture
def dead(lives, name) -> str:
    job_id = lives.enqueue(queue=name, payload=b'{"to": "x"}', metadata={"k": "v"})
    lives.die(job_id)
    return str(job_id)


def test_d01_a_dead_job_is_listed_with_its_failure(api, dead, refresh, name):
    refresh()
    answer = api.get(f"/dlq?queue={name}")
    (letter,) = answer.json
    assert letter == {
        "id": f"{dead}:4", "job_id": dead, "version": 4, "job_type": "email.send", "queue": name, "priority": "medium",
        "payload": {"to": "x"}, "reason": "permanent", "error_type": FAILURE.error_type, "attempt": 1,
        "error_message": FAILURE.error_message, "stack_trace": FAILURE.stack_trace, "retry_count": 0, "max_retries": 3,
        "crash_count": 0, "original_created_at": letter["original_created_at"], "failed_at": letter["failed_at"],
        "requeued_at": None, "requeue_count": 0, "metadata": {"k": "v"},
    }  # fmt: skip
    assert float(answer.headers["Ledger-Lag-Seconds"]) >= 0


def test_d44_a_dead_letter_answers_to_both_ids(api, dead, refresh):
    refresh()
    for id_ in (dead, f"{dead}:4"):
        answer = api.get(f"/dlq/{id_}")
        assert (answer.json["job_id"], answer.headers["ETag"]) == (dead, '"4"')
    assert api.get(f"/dlq/{dead}", headers={"If-None-Match": '"4"'}).status_code == 304


@pytest.mark.parametrize("verb", ["GET", "DELETE", "POST"])
@pytest.mark.parametrize(
    "id_", ["junk", "1", "%00", NOBODY, f"{NOBODY}:4", "{0}:3", "{0}:", "{0}:04", "{0}:x", "{0}:-4"]
)
def test_d44_a_bad_id_of_a_dead_letter_is_not_found(api, dead, refresh, verb, id_):
    refresh()
    path = f"/dlq/{id_.replace('{0}', dead)}" + ("/retry" if verb == "POST" else "")
    assert problem(api.send(verb, path), 404, "not_found")["error"] == "job not found in DLQ"


def test_d04_a_retry_keeps_what_was_asked_for(api, lives, refresh):
    job_id = lives.enqueue(metadata={"k": "v"}, timeout_seconds=7.0)
    lives.die(job_id)
    job = api.post(f"/dlq/{job_id}:4/retry", {"reason": "again"}).json
    assert (job["state"], job["metadata"], job["timeout_seconds"]) == ("ready", {"k": "v"}, 7)
    refresh()
    problem(api.get(f"/dlq/{job_id}"), 404, "not_found")


def test_d31_a_job_that_dies_again_is_visible_again_under_another_id(api, dead, lives, refresh):
    api.post(f"/dlq/{dead}/retry")
    lives.die(ids.parse(dead))
    refresh()
    letter = api.get(f"/dlq/{dead}").json
    assert (letter["requeue_count"], letter["attempt"]) == (1, 2)
    assert letter["id"] != f"{dead}:4"
    problem(api.get(f"/dlq/{dead}:4"), 404, "not_found")
    for answer in (api.post(f"/dlq/{dead}:4/retry"), api.delete(f"/dlq/{dead}:4")):
        assert problem(answer, 409, "state_conflict")["state"] == "dead"
    assert api.post(f"/dlq/{letter['id']}/retry").status_code == 200


def test_pressed_twice_the_second_retry_is_a_conflict(api, dead):
    assert api.post(f"/dlq/{dead}/retry").status_code == 200
    problem(api.post(f"/dlq/{dead}/retry"), 409, "state_conflict")
    problem(api.delete(f"/dlq/{dead}"), 409, "state_conflict")


def test_a_dead_letter_is_discarded_once(api, dead):
    first = api.delete(f"/dlq/{dead}:4?reason=hopeless")
    assert (first.status_code, first.json["state"], first.json["status"]) == (200, "discarded", "deleted")
    assert api.delete(f"/dlq/{dead}").json == first.json
    events = api.get(f"/jobs/{dead}/events").json
    assert [event["data"] for event in events if event["kind"] == "discarded"] == [{"reason": "hopeless"}]
    problem(api.post(f"/dlq/{dead}/retry"), 409, "state_conflict")


def test_a_job_that_was_never_dead_is_not_in_the_queue(api, lives):
    job_id = lives.enqueue()
    problem(api.post(f"/dlq/{job_id}/retry"), 404, "not_found")
    problem(api.delete(f"/dlq/{job_id}"), 404, "not_found")


def test_a_version_of_a_dead_letter_may_be_demanded(api, dead):
    problem(api.post(f"/dlq/{dead}/retry", headers={"If-Match": '"3"'}), 412, "precondition_failed")
    problem(api.delete(f"/dlq/{dead}", headers={"If-Match": '"3"'}), 412, "precondition_failed")
    assert api.post(f"/dlq/{dead}/retry", headers={"If-Match": '"4"'}).status_code == 200


def test_filters_narrow_the_list(api, dead, refresh, name):
    refresh()
    failed_at = api.get(f"/dlq?queue={name}").json[0]["failed_at"]
    queue = f"/dlq?queue={name}"
    for filter_, count in {
        "type=email.send,other": 1,
        "type=other": 0,
        "error_contains=NO+SUCH": 1,
        "error_contains=%25": 0,
        f"failed_before={failed_at}": 0,
        "failed_after=2020-01-01T00:00:00Z": 1,
    }.items():
        assert len(api.get(f"{queue}&{filter_}").json) == count, filter_
    assert dead in api.get(queue).text


def test_pages_by_cursor_and_by_offset(api, lives, refresh, name):
    made = [str(lives.enqueue(queue=name)) for _ in range(5)]
    for job_id in made:
        lives.die(ids.parse(job_id))
    refresh()
    first = api.get(f"/dlq?queue={name}&limit=2")
    second = api.get(f"/dlq?queue={name}&limit=2&cursor={first.headers['Next-Cursor']}")
    assert [letter["job_id"] for letter in first.json + second.json] == made[:0:-1]
    assert api.get(f"/dlq?queue={name}&limit=2&offset=2").json == second.json
    refused = api.get(f"/dlq?queue={name}&offset=2&cursor={first.headers['Next-Cursor']}")
    assert wrong(problem(refused, 400, "invalid_parameter")) == {"offset"}


@pytest.mark.parametrize(
    "query", ["limit=0", "offset=-1", "offset=10001", "failed_after=x", "state=dead", "type=a,,b", "error_contains="]
)
def test_bad_parameters_are_refused(api, query):
    assert wrong(problem(api.get(f"/dlq?{query}"), 400, "invalid_parameter")) == {query.split("=")[0]}
