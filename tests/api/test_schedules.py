"""Schedules over HTTP: made, read, changed, paused, run by hand and taken away, with who and why on record."""

from __future__ import annotations

from datetime import datetime, timedelta

import orjson
import pytest

from ledger import ids
from tests.support.api import NOBODY, problem, wrong

DAILY = {"job_type": "report.build", "cron_expression": "0 8 * * *"}


@pytest.fixture
def schedule(api, name):
    """A schedule that is there, daily at eight, as it was answered."""
    return api.post("/schedules", {"name": name, **DAILY}).json


def patch(api, key: str, body, *, media_type: str = "application/json", **headers: str):
    return api.send(
        "PATCH", f"/schedules/{key}", body=orjson.dumps(body), headers={"Content-Type": media_type} | headers
    )


def audited(ledger, name: str) -> list[tuple[str, str, str | None]]:
    with ledger.database.connection() as connection:
        return connection.execute(
            "select action, actor, reason from ledger.audit where subject = %s order by position", [name]
        ).fetchall()


def test_d03_a_schedule_is_made_with_every_default(api, name):
    answer = api.post("/schedules", {"name": name, **DAILY})
    assert answer.status_code == 201
    made = answer.json
    assert ids.parse(made["id"]) is not None
    assert answer.headers["Location"] == f"/api/v1/schedules/{made['id']}"
    assert answer.headers["ETag"] == '"1"'
    assert {member: made[member] for member in made.keys() - {"id", "next_run_at", "created_at", "updated_at"}} == {
        "name": name, "version": 1, "job_type": "report.build", "payload": {}, "cron_expression": "0 8 * * *",
        "timezone": "UTC", "queue": "default", "priority": "medium", "max_retries": 3, "timeout_seconds": 300.0,
        "metadata": {}, "is_active": True, "catch_up": "once", "catch_up_window_seconds": 86400.0, "overlap": "allow",
        "origin": "api", "last_run_at": None, "last_run_status": None, "last_job_id": None,
    }  # fmt: skip
    assert made["next_run_at"].endswith("T08:00:00.000000Z")


def test_a_schedule_is_kept_as_it_was_sent(api, name):
    asked = {
        "name": name, "job_type": "email.send", "cron_expression": "*/10 0 8 * * mon-fri", "timezone": "Europe/Berlin",
        "payload": {"to": "a@b.c", "n": 1.0}, "queue": "mail", "priority": "critical", "max_retries": 0,
        "metadata": {"tenant": "7"}, "is_active": False, "catch_up": "all", "catch_up_window_seconds": 60,
        "overlap": "cancel_previous",
    }  # fmt: skip
    made = api.post("/schedules", asked | {"timeout": "1m30s"}).json
    assert {member: made[member] for member in asked} == asked
    assert (made["timeout_seconds"], made["next_run_at"]) == (90.0, None)
    assert b'{"to":"a@b.c","n":1.0}' in api.get(f"/schedules/{name}").content


def test_a_schedule_answers_to_its_id_and_its_name(api, schedule):
    by_id, by_name = api.get(f"/schedules/{schedule['id']}"), api.get(f"/schedules/{schedule['name']}")
    assert by_id.json == by_name.json == schedule
    assert by_id.headers["ETag"] == '"1"'
    known = api.get(f"/schedules/{schedule['id']}", headers={"If-None-Match": '"1"'})
    assert (known.status_code, known.content) == (304, b"")
    assert api.send("HEAD", f"/schedules/{schedule['id']}").status_code == 200


def test_a_name_is_given_once(api, schedule):
    problem(api.post("/schedules", {"name": schedule["name"], **DAILY}), 409, "schedule_exists")
    other = api.post("/schedules", {"name": f"{schedule['name']}-2", **DAILY}).json
    problem(patch(api, other["id"], {"name": schedule["name"]}), 409, "schedule_exists")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("cron_expression", "61 * * * *"), ("cron_expression", "0 0 30 2 *"), ("cron_expression", "@every 10ms"),
        ("timezone", "Mars/Olympus"), ("timezone", ""), ("name", NOBODY), ("name", "-x"), ("job_type", ""),
        ("queue", "-"), ("priority", "urgent"), ("max_retries", -1), ("timeout", "1d"), ("metadata", []),
        ("is_active", "yes"), ("catch_up", "twice"), ("catch_up_window_seconds", 2_592_001), ("overlap", "queue"),
        ("payload", None), ("hue", "red"),
    ],
)  # fmt: skip
def test_d30_what_cannot_be_is_refused_when_made_and_when_changed(api, name, schedule, member, value):
    """T17: a bad expression, one that never fires, and an unknown zone are told at once, not hour by hour in a log."""
    refused = problem(api.post("/schedules", {"name": f"{name}-2", **DAILY, member: value}), 422, "validation_failed")
    assert wrong(refused) == {f"/{member}"}
    refused = problem(patch(api, schedule["id"], {member: value}), 422, "validation_failed")
    assert wrong(refused) == {f"/{member}"}
    assert api.get(f"/schedules/{name}").json == schedule


def test_everything_that_is_missing_or_wrong_is_named_at_once(api):
    refused = problem(api.post("/schedules", {"timezone": "Nowhere", "timeout": "1m", "timeout_seconds": 60}), 422,
                      "validation_failed")  # fmt: skip
    assert wrong(refused) >= {"/name", "/job_type", "/cron_expression", "/timezone"}
    assert any(pointer.startswith("/timeout") for pointer in wrong(refused))


def test_schedules_are_listed_by_name_page_by_page(api, name):
    names = [f"{name}-{letter}" for letter in "abc"]
    for each in reversed(names):
        api.post("/schedules", {"name": each, **DAILY, "is_active": each != names[1]})
    found, path = [], "/schedules?limit=1&is_active=true"
    while path:
        answer = api.get(path)
        found += [each["name"] for each in answer.json]
        assert all(each["is_active"] for each in answer.json)
        cursor = answer.headers.get("Next-Cursor")
        assert (cursor is None) is ("Link" not in answer.headers)
        path = cursor and f"/schedules?limit=1&is_active=true&cursor={cursor}"
    assert found == sorted(found)
    assert [each for each in found if each.startswith(name)] == [names[0], names[2]]
    assert names[1] in [each["name"] for each in api.get("/schedules?is_active=false&limit=1000").json]
    cursor = api.get("/schedules?limit=1").headers["Next-Cursor"]
    for query in (f"cursor={cursor}&is_active=true", "cursor=x", "limit=0", "is_active=1", "hue=red"):
        problem(api.get(f"/schedules?{query}"), 400, "invalid_parameter")


@pytest.mark.parametrize("media_type", ["application/json", "application/merge-patch+json"])
def test_a_patch_changes_what_it_names(api, ledger, schedule, media_type):
    changes = {"cron_expression": "30 7 * * *", "payload": {"to": "x"}, "timeout": "10s"}
    answer = patch(api, schedule["name"], changes, media_type=media_type)
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"2"')
    changed = answer.json
    moved = {"version", "cron_expression", "payload", "timeout_seconds", "next_run_at", "updated_at"}
    assert {member for member in schedule if schedule[member] != changed[member]} == moved
    assert changed["next_run_at"].endswith("T07:30:00.000000Z")
    assert audited(ledger, schedule["name"])[1:] == [("schedule.updated", "api:anonymous", None)]


def test_a_patch_that_says_nothing_new_changes_nothing(api, ledger, schedule):
    assert patch(api, schedule["id"], {"queue": schedule["queue"]}).json == schedule
    assert api.send("PATCH", f"/schedules/{schedule['id']}").json == schedule
    assert len(audited(ledger, schedule["name"])) == 1


def test_a_body_of_another_kind_is_refused(api, schedule):
    problem(patch(api, schedule["id"], {}, media_type="text/plain"), 415, "unsupported_media_type")
    merge = {"Content-Type": "application/merge-patch+json"}
    problem(api.post("/schedules", {"name": "x"}, headers=merge), 415, "unsupported_media_type")
    problem(api.post("/schedules"), 415, "unsupported_media_type")


def test_pausing_and_resuming_may_be_repeated(api, ledger, schedule):
    key = schedule["name"]
    paused = api.post(f"/schedules/{key}/pause", {"reason": "holiday"}).json
    assert (paused["is_active"], paused["next_run_at"], paused["version"]) == (False, None, 2)
    assert api.post(f"/schedules/{key}/pause").json == paused
    resumed = api.post(f"/schedules/{key}/resume", {"reason": "back"}).json
    assert (resumed["is_active"], resumed["next_run_at"]) == (True, schedule["next_run_at"])
    assert api.post(f"/schedules/{key}/resume").json == resumed
    assert audited(ledger, key) == [
        ("schedule.created", "api:anonymous", None),
        ("schedule.paused", "api:anonymous", "holiday"),
        ("schedule.resumed", "api:anonymous", "back"),
    ]


def test_a_deleted_schedule_is_shown_once_more_and_its_jobs_stay(api, ledger, schedule):
    key = schedule["name"]
    job = api.post(f"/schedules/{key}/run-now").json
    answer = api.delete(f"/schedules/{key}?reason=obsolete")
    assert (answer.status_code, answer.json["status"], answer.json["id"]) == (200, "deleted", schedule["id"])
    problem(api.get(f"/schedules/{key}"), 404, "not_found")
    problem(api.delete(f"/schedules/{key}"), 404, "not_found")
    assert api.get(f"/jobs/{job['id']}").json["schedule_id"] == schedule["id"]
    assert audited(ledger, key)[-1] == ("schedule.deleted", "api:anonymous", "obsolete")


@pytest.mark.parametrize("verb", ["run-now", "pause"])
def test_a_schedule_runs_by_hand_also_while_it_is_paused(api, schedule, verb):
    key = schedule["id"]
    if verb == "pause":
        api.post(f"/schedules/{key}/pause")
    before = api.get(f"/schedules/{key}").json
    answer = api.post(f"/schedules/{key}/run-now", {"reason": "try"})
    assert answer.status_code == 201
    job = answer.json
    assert answer.headers["Location"] == f"/api/v1/jobs/{job['id']}"
    assert (job["type"], job["state"], job["schedule_id"], job["tick_at"]) == ("report.build", "ready", key, None)
    (event,) = api.get(f"/jobs/{job['id']}/events").json
    assert event["actor"] == "api:anonymous"
    after = api.get(f"/schedules/{key}").json
    assert (after["last_job_id"], after["last_run_status"]) == (job["id"], "enqueued")
    assert (after["next_run_at"], after["is_active"]) == (before["next_run_at"], before["is_active"])


def test_the_next_ticks_are_told_in_utc_and_in_the_zone(api, name):
    api.post("/schedules", {"name": name, **DAILY, "timezone": "Asia/Kolkata"})
    ticks = api.get(f"/schedules/{name}/next?count=3").json
    assert [tick["at"][10:] for tick in ticks] == ["T02:30:00.000000Z"] * 3
    assert all(tick["local"][10:] == "T08:00:00.000000+05:30" for tick in ticks)
    times = [datetime.fromisoformat(tick["at"]) for tick in ticks]
    assert [datetime.fromisoformat(tick["local"]) for tick in ticks] == times
    assert times[2] - times[0] == timedelta(days=2)
    assert len(api.get(f"/schedules/{name}/next").json) == 10
    for count in ("0", "101", "x"):
        problem(api.get(f"/schedules/{name}/next?count={count}"), 400, "invalid_parameter")


CHANGES = [
    ("PATCH", "", {"queue": "other"}), ("DELETE", "", None), ("POST", "/pause", {}), ("POST", "/resume", {}),
    ("POST", "/run-now", {}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "verb", "body"), CHANGES)
def test_a_stale_version_changes_nothing(api, schedule, method, verb, body):
    patch(api, schedule["id"], {"queue": "elsewhere"})
    now = api.get(f"/schedules/{schedule['id']}").json

    def send(tag: str, key: str = schedule["id"]):
        headers = {"If-Match": tag} | ({} if body is None else {"Content-Type": "application/json"})
        sent = None if body is None else orjson.dumps(body)
        return api.send(method, f"/schedules/{key}{verb}", body=sent, headers=headers)

    for tag in ('"1"', 'W/"2"', '"1", "3"'):
        assert problem(send(tag), 412, "precondition_failed")["version"] == 2
    problem(send("2"), 400, "invalid_parameter")
    problem(send('"2"', key=NOBODY), 404, "not_found")
    assert api.get(f"/schedules/{schedule['id']}").json == now
    assert send('"1", "2"').status_code in (200, 201)


@pytest.mark.parametrize("key", [NOBODY, "nobody", "-", "%00", "é", "a" * 300])
def test_what_names_no_schedule_is_not_found(api, key):
    for method, path in (("GET", ""), ("GET", "/next"), ("DELETE", ""), ("POST", "/pause"), ("POST", "/run-now")):
        assert problem(api.send(method, f"/schedules/{key}{path}"), 404, "not_found")["detail"] == "schedule not found"


def test_what_is_wrong_in_itself_is_told_before_what_is_missing(api):
    refused = problem(patch(api, "nobody", {"priority": "urgent"}, **{"If-Match": '"7"'}), 422, "validation_failed")
    assert wrong(refused) == {"/priority"}
    problem(api.post("/schedules/nobody/pause", {"reason": 7}), 422, "validation_failed")
    problem(patch(api, "nobody", {"priority": "low"}, **{"If-Match": '"7"'}), 404, "not_found")


def test_a_payload_over_the_limit_is_too_large(api, ledger, name):
    payload = {"a": "x" * ledger.settings.job_max_payload}
    problem(api.post("/schedules", {"name": name, **DAILY, "payload": payload}), 413, "too_large")


@pytest.fixture
def lost(api, ledger, name) -> str:
    """A schedule that was made by a machine which knew more time zones than this one."""
    assert api.post("/schedules", {"name": name, **DAILY}).status_code == 201
    with ledger.database.connection() as connection:
        connection.execute("update ledger.schedules set timezone = 'Mars/Olympus' where name = %s", [name])
    return name


def test_a_schedule_whose_zone_is_not_known_here_is_refused_plainly(api, lost):
    assert api.get(f"/schedules/{lost}").json["timezone"] == "Mars/Olympus"
    found = problem(api.get(f"/schedules/{lost}/next"), 409, "state_conflict")
    assert "Mars/Olympus" in found["detail"]
    assert found["version"] == 1
    paused = api.post(f"/schedules/{lost}/pause")
    assert (paused.status_code, paused.json["next_run_at"]) == (200, None)
    problem(api.post(f"/schedules/{lost}/resume"), 409, "state_conflict")
    assert api.post(f"/schedules/{lost}/run-now").status_code == 201
    assert patch(api, lost, {"timezone": "UTC"}).status_code == 200
    assert len(api.get(f"/schedules/{lost}/next?count=1").json) == 1


def test_why_a_schedule_was_run_by_hand_is_in_the_event(api, schedule):
    made = api.post(f"/schedules/{schedule['id']}/run-now", {"reason": "asked for"}).json
    (event,) = api.get(f"/jobs/{made['id']}/events").json
    assert (event["data"]["note"], event["data"]["type"]) == ("asked for", "report.build")
