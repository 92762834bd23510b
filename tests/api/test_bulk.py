"""POST /jobs/bulk: each job by its number, or all or none."""

from __future__ import annotations

import pytest

from ledger import ids
from tests.support.api import problem, wrong


def bulk(api, jobs, *, headers=None, **members):
    return api.post("/jobs/bulk", {"jobs": jobs, **members}, headers=headers)


def test_many_jobs_are_made_in_order(api, name):
    answer = bulk(api, [{"type": f"t{number}", "queue": name, "payload": {"n": number}} for number in range(2500)])
    assert answer.status_code == 201
    assert (answer.json["created"], answer.json["replayed"], answer.json["refused"]) == (2500, 0, 0)
    assert [result["index"] for result in answer.json["results"]] == list(range(2500))
    last = answer.json["results"][2499]
    assert last == {"index": 2499, "status": 201, "id": last["id"], "version": 1, "replayed": False, "problem": None}
    assert api.get(f"/jobs/{last['id']}").json["payload"] == {"n": 2499}


def test_the_bytes_of_every_payload_are_kept(api):
    body = b'{"jobs":[{"type":"a","payload":{ "x":1.0 }},{"type":"a"},{"payload":{"y" : 2},"type":"a"}]}'
    results = api.post("/jobs/bulk", body).json["results"]
    for result, payload in zip(results, (b'{ "x":1.0 }', b"{}", b'{"y" : 2}'), strict=True):
        assert b'"payload":' + payload in api.get(f"/jobs/{result['id']}").content


def test_jobs_that_are_nearly_alike_are_told_apart(api):
    alike = {"type": "a", "max_retries": 1, "metadata": {"tenant": "1"}}
    others = [{"max_retries": 2}, {"metadata": {"tenant": "2"}}, {"metadata": {"tenant": "1", "more": "1"}}]
    refused = [{"max_retries": True}, {"metadata": {"tenant": 1}}, {"payload": {"x": "x" * 2**20}}]
    jobs = [alike, *(alike | each for each in [*others, *refused]), alike | {"payload": {"n": 1}}]
    results = bulk(api, jobs).json["results"]
    assert [result["status"] for result in results] == [201, 201, 201, 201, 422, 422, 413, 201]
    made = [
        (api.get(f"/jobs/{result['id']}").json, job) for result, job in zip(results, jobs, strict=True) if result["id"]
    ]
    for found, job in made:
        assert (found["payload"], found["max_retries"], found["metadata"]) == (
            job.get("payload", {}), job["max_retries"], job["metadata"],
        )  # fmt: skip


def test_what_can_be_made_is_made_and_the_rest_is_told(api, name):
    taken = api.post("/jobs", {"type": "a", "id": str(ids.mint())}).json["id"]
    api.post("/jobs", {"type": "a"}, headers={"Idempotency-Key": name})
    twin = str(ids.mint())
    answer = bulk(
        api,
        [
            {"type": "a"},
            {"type": "?", "delay": 5},
            {"type": "a", "id": taken},
            {"type": "b", "idempotency_key": name},
            {"type": "a", "idempotency_key": name},
            7,
            {"type": "a", "payload": {"x": "x" * 2**20}},
            {"type": "a", "id": twin},
            {"type": "a", "id": twin},
        ],
    )
    assert answer.status_code == 207
    assert (answer.json["created"], answer.json["replayed"], answer.json["refused"]) == (2, 1, 6)
    results = answer.json["results"]
    assert [result["status"] for result in results] == [201, 422, 409, 422, 201, 422, 413, 201, 409]
    codes = [result["problem"] and result["problem"]["code"] for result in results]
    assert codes == [
        None, "validation_failed", "job_exists", "idempotency_key_reused", None, "validation_failed", "too_large", None,
        "job_exists",
    ]  # fmt: skip
    assert wrong(results[1]["problem"]) == {"/jobs/1/type", "/jobs/1/delay"}
    assert results[4]["replayed"]


def test_all_or_none(api, name, refresh):
    jobs = [{"type": "a", "queue": name}, {"type": "a", "queue": name, "priority": "?"}, {"queue": name}]
    found = problem(bulk(api, jobs, atomic=True), 422, "validation_failed")
    assert wrong(found) == {"/jobs/1/priority", "/jobs/2/type"}
    taken = api.post("/jobs", {"type": "a"}).json["id"]
    problem(bulk(api, [{"type": "a", "queue": name}, {"type": "a", "id": taken}], atomic=True), 409, "job_exists")
    used = api.post("/jobs", {"type": "a"}, headers={"Idempotency-Key": name})
    assert used.status_code == 201
    jobs = [{"type": "a", "queue": name}, {"type": "b", "idempotency_key": name}]
    problem(bulk(api, jobs, atomic=True), 422, "idempotency_key_reused")
    refresh()
    assert api.get(f"/jobs?queue={name}").json == []
    assert bulk(api, jobs[:1] * 3, atomic=True).json["created"] == 3


@pytest.mark.parametrize("atomic", [True, False])
def test_the_same_bulk_again_makes_nothing_new(api, name, atomic):
    jobs = [{"type": "a"}, {"type": "b", "idempotency_key": f"own {name}"}]
    key = {"Idempotency-Key": name}
    first = bulk(api, jobs, headers=key, atomic=atomic).json
    again = bulk(api, jobs, headers=key, atomic=atomic)
    assert again.status_code == 201
    assert (first["created"], again.json["created"], again.json["replayed"]) == (2, 0, 2)
    assert [result["id"] for result in again.json["results"]] == [result["id"] for result in first["results"]]
    assert api.get(f"/jobs/{first['results'][0]['id']}").json["idempotency_key"] == f"{name}:0"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/jobs"),
        ({"jobs": []}, "/jobs"),
        ({"jobs": {}}, "/jobs"),
        ({"jobs": [{}] * 10_001}, "/jobs"),
        ({"jobs": [{"type": "a"}], "atomic": "yes"}, "/atomic"),
        ({"jobs": [{"type": "a"}], "atomic": None}, "/atomic"),
        ({"jobs": [{"type": "a"}], "hue": 1}, "/hue"),
        (b'{"jobs":[{"type":"a","type":"b"}]}', "/jobs/0/type"),
    ],
)
def test_a_bulk_that_is_none_is_refused(api, body, pointer):
    assert wrong(problem(api.post("/jobs/bulk", body), 422, "validation_failed")) == {pointer}


def test_a_bulk_is_bounded(api):
    problem(api.post("/jobs/bulk", b" " * (2**24 + 1)), 413, "too_large")


def test_all_or_none_says_which_one_it_failed_for(api, name):
    taken, twin = api.post("/jobs", {"type": "a"}).json["id"], str(ids.mint())
    api.post("/jobs", {"type": "a"}, headers={"Idempotency-Key": name})
    for jobs, status, code, pointer in (
        ([{"type": "a"}, {"type": "a", "id": taken}], 409, "job_exists", "/jobs/1/id"),
        ([{"type": "a", "id": twin}, {"type": "a", "id": twin}], 409, "job_exists", "/jobs/1/id"),
        ([{"type": "a"}, {"type": "b", "idempotency_key": name}], 422, "idempotency_key_reused",
         "/jobs/1/idempotency_key"),
    ):  # fmt: skip
        assert wrong(problem(bulk(api, jobs, atomic=True), status, code)) == {pointer}


def test_the_longest_idempotency_key_is_good_for_many_jobs_too(api, name):
    key = {"Idempotency-Key": name.ljust(255, "k")}
    first, again = (bulk(api, [{"type": "a"}] * 3, headers=key) for _ in range(2))
    assert (first.status_code, first.json["created"], again.json["replayed"]) == (201, 3, 3)
    made = api.get(f"/jobs/{first.json['results'][2]['id']}").json
    assert made["idempotency_key"] == f"{key['Idempotency-Key']}:2"
    problem(api.post("/jobs", {"type": "a", "idempotency_key": "k" * 256}), 422, "validation_failed")


def test_t7_a_key_that_comes_twice_in_one_bulk_stands_for_one_job(api, name):
    keys = [f"{name} {number % 2100}" for number in range(4200)]
    jobs = [{"type": "a", "idempotency_key": key} for key in keys]
    results = bulk(api, jobs).json["results"]
    assert [result["replayed"] for result in results] == [False] * 2100 + [True] * 2100
    assert [result["id"] for result in results[:2100]] == [result["id"] for result in results[2100:]]
    again = bulk(api, jobs[:2100], atomic=True).json
    assert [result["id"] for result in again["results"]] == [result["id"] for result in results[:2100]]
