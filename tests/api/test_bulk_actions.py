"""Many jobs changed by one request: what matches, what is refused, and what is left for the next one."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from uuid import UUID

import pytest

from ledger import ids
from ledger.codec import rfc3339
from ledger.events import Kind, Priority
from ledger.job import State
from tests.support.api import NOBODY, problem, wrong

RESULT = {"operation_id", "dry_run", "matched", "changed", "remaining", "refused", "sample"}
NOTHING = {"matched": 0, "changed": 0, "remaining": 0, "refused": [], "sample": []}


def numbers(answer) -> tuple[int, int, int, int]:
    """matched, changed, refused, remaining: of a result that adds up."""
    result = answer.json
    assert result.keys() == RESULT
    assert result["matched"] == result["changed"] + len(result["refused"]) + result["remaining"]
    assert len(result["sample"]) == min(result["matched"] - len(result["refused"]), 10) or result["remaining"]
    return result["matched"], result["changed"], len(result["refused"]), result["remaining"]


@pytest.fixture
def waiting(lives, refresh, name) -> list[UUID]:
    """Three jobs in a queue of their own."""
    made = [lives.enqueue(queue=name) for _ in range(3)]
    refresh()
    return made


@pytest.fixture
def dead(lives, refresh, name) -> list[UUID]:
    """Three dead jobs in a queue of their own."""
    made = [lives.enqueue(f"t{n}", queue=name) for n in range(3)]
    for job_id in made:
        lives.die(job_id)
    refresh()
    return made


def states(lives, jobs) -> list[State]:
    return [lives.job(job_id).state for job_id in jobs]


def test_d58_each_job_is_cancelled_by_its_own_event_under_one_operation(api, lives, waiting, name):
    operation = "7b0c2f0e-2f3c-4a55-9d2b-5c9a1f0e8d11"
    answer = api.post("/jobs/cancel", {"filter": {"queue": name}, "reason": "wrong list", "operation_id": operation})
    assert answer.status_code == 200
    assert numbers(answer) == (3, 3, 0, 0)
    assert answer.json["operation_id"] == operation
    assert answer.json["dry_run"] is False
    assert {UUID(job_id) for job_id in answer.json["sample"]} == set(waiting)
    assert float(answer.headers["Ledger-Lag-Seconds"]) >= 0
    for job_id in waiting:
        last = lives.log.history(job_id)[-1]
        assert (last.kind, last.actor, last.event.reason) == (Kind.CANCELLED, "api:anonymous", "wrong list")
        assert last.trace.correlation_id == operation


def test_a_job_keeps_the_correlation_it_was_born_with(api, lives, refresh, name):
    job_id = lives.enqueue(queue=name, correlation_id=f"order {name}")
    lives.die(job_id)
    refresh()
    answer = api.post("/dlq/retry", {"filter": {"queue": name}})
    refresh()
    assert lives.log.history(job_id)[-1].trace.correlation_id == answer.json["operation_id"]
    assert lives.job(job_id).correlation_id == f"order {name}"
    lives.lease(job_id)
    lives.fail(job_id)
    assert lives.log.history(job_id)[-1].trace.correlation_id == f"order {name}"
    (listed,) = api.get(f"/jobs?correlation_id=order%20{name}").json
    assert listed["id"] == str(job_id)


def test_an_operation_without_an_id_is_given_one(api, waiting, name):
    first, second = (api.post("/jobs/cancel", {"filter": {"queue": name}}).json for _ in range(2))
    assert ids.is_v7(UUID(first["operation_id"]))
    assert first["operation_id"] != second["operation_id"]


def test_sent_again_nothing_matches_even_while_the_read_model_is_behind(api, lives, waiting, name):
    assert numbers(api.post("/jobs/cancel", {"filter": {"queue": name}})) == (3, 3, 0, 0)
    again = api.post("/jobs/cancel", {"filter": {"queue": name}})
    assert (again.status_code, numbers(again)) == (200, (0, 0, 0, 0))
    assert [len(lives.log.history(job_id)) for job_id in waiting] == [2, 2, 2]


def test_a_dry_run_counts_and_changes_nothing(api, lives, waiting, name):
    answer = api.post("/jobs/cancel", {"filter": {"queue": name}, "dry_run": True, "limit": 1})
    assert (answer.status_code, numbers(answer)) == (200, (3, 0, 0, 3))
    assert len(answer.json["sample"]) == 1
    assert states(lives, waiting) == [State.READY] * 3


def test_what_is_left_is_done_by_sending_it_again(api, lives, waiting, name):
    body = {"filter": {"queue": name}, "limit": 2}
    first = api.post("/jobs/cancel", body)
    assert (first.status_code, numbers(first)) == (202, (3, 2, 0, 1))
    second = api.post("/jobs/cancel", body)
    assert (second.status_code, numbers(second)) == (200, (1, 1, 0, 0))
    assert states(lives, waiting) == [State.CANCELLED] * 3


def test_named_jobs_are_judged_by_the_log_one_by_one(api, lives, name):
    ready, running, over, cancelled = (lives.enqueue(queue=name) for _ in range(4))
    lives.lease(running)
    lives.run(over)
    lives.cancel(cancelled)
    names = [str(ready), str(running), str(over), str(cancelled), NOBODY, "rubbish", str(ready)]
    answer = api.post("/jobs/cancel", {"filter": {"ids": names}})
    assert answer.status_code == 207
    assert numbers(answer) == (5, 2, 3, 0)
    refused = {each["id"]: (each["status"], each["code"]) for each in answer.json["refused"]}
    assert refused == {
        str(over): (409, "state_conflict"),
        NOBODY: (404, "not_found"),
        "rubbish": (404, "not_found"),
    }
    assert all(each.keys() == {"id", "status", "code", "detail"} for each in answer.json["refused"])
    assert states(lives, [ready, running, over, cancelled]) == [
        State.CANCELLED, State.CANCELLED, State.SUCCEEDED, State.CANCELLED,
    ]  # fmt: skip


def test_d16_cancelling_running_jobs_voids_their_leases(api, lives, name):
    job_id = lives.enqueue(queue=name)
    lives.lease(job_id)
    api.post("/jobs/cancel", {"filter": {"ids": [str(job_id)]}})
    assert lives.job(job_id).state is State.CANCELLED
    with pytest.raises(Exception, match="cancelled"):
        lives.succeed(job_id)


def test_named_jobs_over_the_limit_are_left(api, lives, waiting):
    body = {"filter": {"ids": [str(job_id) for job_id in waiting]}, "limit": 2}
    first, second, third = (api.post("/jobs/cancel", body) for _ in range(3))
    assert (first.status_code, numbers(first)) == (202, (3, 2, 0, 1))
    assert (second.status_code, numbers(second)) == (200, (1, 1, 0, 0))
    assert (third.status_code, numbers(third)) == (200, (0, 0, 0, 0))


def test_the_members_of_a_filter_are_anded(api, lives, refresh, name):
    urgent = lives.enqueue("a", queue=name, priority=Priority.CRITICAL)
    later = lives.enqueue("b", queue=name, delay=timedelta(hours=1))
    plain = lives.enqueue("b", queue=name)
    ended = lives.enqueue("b", queue=name)
    lives.run(ended)
    refresh()
    born = rfc3339(lives.job(later).created_at)

    def matched(**members) -> set[UUID]:
        answer = api.post("/jobs/cancel", {"filter": {"queue": name, **members}, "dry_run": True})
        assert numbers(answer)[0] == len(answer.json["sample"])
        return {UUID(job_id) for job_id in answer.json["sample"]}

    assert matched() == {urgent, later, plain}, "what has ended cannot be cancelled"
    assert matched(state="scheduled") == {later}
    assert matched(state=["pending", "scheduled"]) == {urgent, later, plain}
    assert matched(state="ready,scheduled", type=["b"]) == {later, plain}
    assert matched(priority=["critical", "high"]) == {urgent}
    assert matched(created_after=born) == {plain}
    assert matched(created_before=born) == {urgent}
    assert matched(ids=[str(urgent), str(ended), NOBODY, "rubbish"], type="a") == {urgent}
    assert matched(ids=[str(urgent)], type="b") == set()


def test_what_the_filter_asks_for_and_the_rules_refuse_is_told(api, lives, refresh, name):
    job_id = lives.enqueue(queue=name)
    lives.run(job_id)
    refresh()
    answer = api.post("/jobs/cancel", {"filter": {"queue": name, "state": "succeeded"}})
    assert (answer.status_code, numbers(answer)) == (207, (1, 0, 1, 0))
    assert answer.json["refused"][0]["code"] == "state_conflict"


def test_d31_many_dead_jobs_are_retried_once(api, lives, dead, name):
    body = {"filter": {"queue": name}, "reason": "fixed"}
    first, second = api.post("/dlq/retry", body), api.post("/dlq/retry", body)
    assert (first.status_code, numbers(first)) == (200, (3, 3, 0, 0))
    assert (second.status_code, numbers(second)) == (200, (0, 0, 0, 0))
    for job_id in dead:
        job = lives.job(job_id)
        assert (job.state, job.requeue_count, job.retry_count) == (State.READY, 1, 0)
        retried, enqueued = lives.log.history(job_id)[-2:]
        assert (retried.kind, retried.event.reason, enqueued.kind) == (Kind.RETRIED, "fixed", Kind.ENQUEUED)
        assert retried.trace == enqueued.trace


def test_d31_a_job_that_died_again_is_retried_again(api, lives, dead, refresh, name):
    api.post("/dlq/retry", {"filter": {"queue": name}})
    for job_id in dead:
        lives.die(job_id)
    refresh()
    assert numbers(api.post("/dlq/retry", {"filter": {"queue": name}})) == (3, 3, 0, 0)


def test_dead_letters_are_named_by_their_own_id_or_the_jobs(api, lives, dead):
    by_letter = f"{dead[0]}:{lives.job(dead[0]).version}"
    answer = api.post("/dlq/discard", {"filter": {"ids": [by_letter, str(dead[1]), f"{dead[2]}:1"]}})
    assert (answer.status_code, numbers(answer)) == (207, (3, 2, 1, 0))
    (refused,) = answer.json["refused"]
    assert refused == {
        "id": f"{dead[2]}:1", "status": 404, "code": "not_found", "detail": "job not found in DLQ",
    }  # fmt: skip
    assert states(lives, dead) == [State.DISCARDED, State.DISCARDED, State.DEAD]
    again = api.post("/dlq/discard", {"filter": {"ids": [by_letter]}})
    assert (again.status_code, numbers(again)) == (200, (0, 0, 0, 0))


def test_the_id_of_an_earlier_death_is_a_conflict(api, lives, dead):
    earlier = f"{dead[0]}:{lives.job(dead[0]).version}"
    lives.retry(dead[0])
    lives.die(dead[0])
    answer = api.post("/dlq/retry", {"filter": {"ids": [earlier]}})
    assert (answer.status_code, answer.json["refused"][0]["status"]) == (207, 409)
    assert lives.job(dead[0]).state is State.DEAD


def test_dead_letters_are_narrowed_by_what_they_died_of_and_when(api, lives, dead, name):
    died = rfc3339(lives.job(dead[1]).completed_at)

    def matched(**members) -> int:
        return numbers(api.post("/dlq/discard", {"filter": {"queue": name, **members}, "dry_run": True}))[0]

    assert matched() == 3
    assert matched(type=["t0", "t2"]) == 2
    assert matched(failed_after=died) == 1
    assert matched(failed_before=died) == 1
    assert matched(error_contains="NO SUCH") == 3
    assert matched(error_contains="something else") == 0


@pytest.mark.parametrize("path", ["/jobs/cancel", "/dlq/retry", "/dlq/discard"])
def test_nothing_is_changed_without_saying_what(api, path):
    for body in (None, {}, {"filter": {}}, {"all": False}, {"dry_run": True}):
        assert wrong(problem(api.post(path, body), 422, "validation_failed")) == {"/filter"}
    assert api.post(path, {"all": True, "dry_run": True}).status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"filter": {"ids": []}}, "/filter/ids"),
        ({"filter": {"ids": [7]}}, "/filter/ids"),
        ({"filter": {"ids": [str(ids.mint()) for _ in range(1001)]}}, "/filter/ids"),
        ({"filter": {"queue": None}}, "/filter/queue"),
        ({"filter": {"queue": ["a", ""]}}, "/filter/queue"),
        ({"filter": {"type": {"a": 1}}}, "/filter/type"),
        ({"filter": {"worker_id": "w"}}, "/filter/worker_id"),
        ({"filter": ["a"]}, "/filter"),
        ({"filter": None}, "/filter"),
        ({"all": 1}, "/all"),
        ({"all": True, "dry_run": "yes"}, "/dry_run"),
        ({"all": True, "limit": 0}, "/limit"),
        ({"all": True, "limit": 10_001}, "/limit"),
        ({"all": True, "limit": True}, "/limit"),
        ({"all": True, "limit": 5.0}, "/limit"),
        ({"all": True, "reason": "x" * 501}, "/reason"),
        ({"all": True, "reason": None}, "/reason"),
        ({"all": True, "operation_id": "mine"}, "/operation_id"),
        ({"all": True, "operation_id": 5}, "/operation_id"),
        ({"all": True, "delay": "1h"}, "/delay"),
    ],
)
@pytest.mark.parametrize("path", ["/jobs/cancel", "/dlq/retry"])
def test_a_bad_member_is_named(api, path, body, pointer):
    assert wrong(problem(api.post(path, body), 422, "validation_failed")) == {pointer}


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("/jobs/cancel", {"state": "failed"}),
        ("/jobs/cancel", {"state": ["ready", "lost"]}),
        ("/jobs/cancel", {"priority": "urgent"}),
        ("/jobs/cancel", {"created_after": "yesterday"}),
        ("/jobs/cancel", {"created_before": 5}),
        ("/jobs/cancel", {"failed_after": "2026-01-01T00:00:00Z"}),
        ("/dlq/discard", {"state": "dead"}),
        ("/dlq/discard", {"priority": "high"}),
        ("/dlq/discard", {"failed_after": "2026-01-01T00:00:00"}),
        ("/dlq/discard", {"error_contains": ""}),
        ("/dlq/discard", {"error_contains": ["a"]}),
    ],
)
def test_each_route_has_its_own_filter(api, path, members):
    (name,) = members
    assert wrong(problem(api.post(path, {"filter": members}), 422, "validation_failed")) == {f"/filter/{name}"}


def test_every_breach_is_told_at_once(api):
    body = {"filter": {"state": "lost", "color": "red"}, "limit": -1, "now": True}
    refused = problem(api.post("/jobs/cancel", body), 422, "validation_failed")
    assert wrong(refused) == {"/filter/state", "/filter/color", "/limit", "/now"}


def test_it_is_a_post_of_json_and_nothing_else(api):
    problem(api.get("/dlq/discard"), 405, "method_not_allowed")
    problem(api.post("/jobs/cancel?limit=5", {"all": True}), 400, "invalid_parameter")
    problem(api.post("/jobs/cancel", b"[]"), 400, "malformed_request")
    problem(api.send("POST", "/jobs/cancel", body=b"{}", headers={"Content-Type": "text/plain"}), 415,
            "unsupported_media_type")  # fmt: skip


def test_a_job_somebody_is_changing_is_refused_and_holds_nobody_else_back(api, ledger, lives, waiting, monkeypatch):
    monkeypatch.setattr("ledger_projections.bulk_actions.BLOCKED_WAIT", 0.2)
    with ledger.database.dedicated() as connection, connection.transaction(force_rollback=True):
        ledger.cancel(waiting[0], connection=connection)
        answer = api.post("/jobs/cancel", {"filter": {"ids": [str(job_id) for job_id in waiting]}})
        assert (answer.status_code, numbers(answer)) == (207, (3, 2, 1, 0))
        (refused,) = answer.json["refused"]
        assert (refused["id"], refused["status"], refused["code"]) == (str(waiting[0]), 503, "unavailable")
    assert states(lives, waiting) == [State.READY, State.CANCELLED, State.CANCELLED]


def test_two_at_once_change_each_job_once(api, lives, refresh, name):
    made = [lives.enqueue(queue=name) for _ in range(300)]
    refresh()
    start = threading.Barrier(2)
    answers = []

    def send() -> None:
        start.wait()
        answers.append(numbers(api.post("/jobs/cancel", {"filter": {"queue": name}})))

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(changed for _, changed, _, _ in answers) == len(made)
    assert [refused for _, _, refused, _ in answers] == [0, 0]
    assert {len(lives.log.history(job_id)) for job_id in made} == {2}


def test_ten_thousand_jobs_take_seconds(api, ledger, refresh, name):
    ledger.enqueue_many([{"type": "t", "queue": name}] * 10_000)
    refresh()
    began = time.monotonic()
    answer = api.post("/jobs/cancel", {"filter": {"queue": name}, "limit": 10_000})
    assert numbers(answer) == (10_000, 10_000, 0, 0)
    assert time.monotonic() - began < 14, "the limit of a request"


@pytest.mark.parametrize("path", ["/jobs/cancel", "/dlq/retry", "/dlq/discard"])
def test_a_thousand_ids_are_the_most_even_if_they_repeat(api, refresh, path):
    refresh()
    assert api.post(path, {"filter": {"ids": [NOBODY] * 1000}, "dry_run": True}).status_code == 200
    for ids_ in ([NOBODY] * 1001, ",".join([NOBODY] * 1001)):
        assert wrong(problem(api.post(path, {"filter": {"ids": ids_}}), 422, "validation_failed")) == {"/filter/ids"}
