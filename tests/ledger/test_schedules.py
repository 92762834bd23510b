"""Schedules in Postgres: made, changed, paused, run by hand, each change by somebody and on record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from ledger import Ledger, ids
from ledger.errors import InvalidRequest, ScheduleChanged, ScheduleExists, ScheduleInCode, ScheduleNotFound
from ledger.resources import dumps
from ledger.schedule import schedule_resource
from ledger.schedule_requests import new_definition
from ledger.schedules import Schedules
from ledger.strict_json import decode
from tests.support.servers import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST = {"name": "nightly", "job_type": "report.make", "cron_expression": "0 3 * * *"}


@pytest.fixture
def ledger(database: str, redis_url: str) -> Iterator[Ledger]:
    ledger = Ledger(database_url=database, redis_url=redis_url, actor="cli:anna")
    yield ledger
    ledger.close()


@pytest.fixture
def schedules(ledger: Ledger) -> Schedules:
    return Schedules(ledger)


def audit(database: str) -> list[tuple]:
    with connect(database) as connection:
        return connection.execute(
            "select actor, action, subject, reason, before is null, after is null from ledger.audit order by position"
        ).fetchall()


def test_d03_a_schedule_can_be_made_and_says_everything_about_itself(schedules: Schedules) -> None:
    made = schedules.create(
        REQUEST | {"timezone": "Europe/Berlin", "timeout": "90s"}, b'{"a":  1}', from_json=True, actor="api:anna"
    )
    assert decode(dumps(schedule_resource(schedules.get("nightly")))) == {
        "id": str(made.id),
        "name": "nightly",
        "version": 1,
        "job_type": "report.make",
        "payload": {"a": 1},
        "cron_expression": "0 3 * * *",
        "timezone": "Europe/Berlin",
        "queue": "default",
        "priority": "medium",
        "max_retries": 3,
        "timeout_seconds": 90.0,
        "metadata": {},
        "is_active": True,
        "catch_up": "once",
        "catch_up_window_seconds": 86400.0,
        "overlap": "allow",
        "origin": "api",
        "last_run_at": None,
        "last_run_status": None,
        "last_job_id": None,
        "next_run_at": schedule_resource(made)["next_run_at"],
        "created_at": schedule_resource(made)["created_at"],
        "updated_at": schedule_resource(made)["created_at"],
    }
    assert made.next_run_at is not None
    assert made.next_run_at.astimezone(made.zone).hour == 3
    assert made == schedules.get(made.id) == schedules.get(str(made.id))
    assert made.payload == b'{"a":  1}'


def test_every_breach_is_named_at_once(schedules: Schedules) -> None:
    with pytest.raises(InvalidRequest) as refused:
        schedules.create(
            {
                "name": "018f3f5e-0000-7000-8000-000000000000",
                "cron_expression": "0 0 30 2 *",
                "timezone": "Mars/Olympus",
                "catch_up": "some",
                "catch_up_window_seconds": 2592001,
                "overlap": None,
                "is_active": "yes",
                "queue": "a b",
                "colour": "blue",
            },
            from_json=True,
        )
    assert {breach.pointer for breach in refused.value.breaches} == {
        "/name", "/job_type", "/cron_expression", "/timezone", "/catch_up", "/catch_up_window_seconds", "/overlap",
        "/is_active", "/queue", "/colour",
    }  # fmt: skip


def test_a_payload_over_the_limit_is_too_large(schedules: Schedules) -> None:
    with pytest.raises(InvalidRequest) as refused:
        schedules.create(REQUEST, b'{"a": "%s"}' % (b"x" * 2**20), from_json=True)
    assert [breach.too_large for breach in refused.value.breaches] == [True]


def test_a_name_is_taken_once(schedules: Schedules) -> None:
    schedules.create(REQUEST)
    with pytest.raises(ScheduleExists):
        schedules.create(REQUEST)
    other = schedules.create(REQUEST | {"name": "other"})
    with pytest.raises(ScheduleExists):
        schedules.update(other.id, {"name": "nightly"})


@pytest.mark.parametrize("key", ["nobody", "\0", str(ids.mint()), ids.mint()], ids=["name", "null", "id", "other"])
def test_an_unknown_one_is_not_found(schedules: Schedules, key) -> None:
    with pytest.raises(ScheduleNotFound):
        schedules.get(key)
    with pytest.raises(ScheduleNotFound):
        schedules.pause(key)
    with pytest.raises(ScheduleNotFound):
        schedules.delete(key)
    with pytest.raises(ScheduleNotFound):
        schedules.run_now(key)


def test_lists_go_by_name_a_page_at_a_time(schedules: Schedules) -> None:
    for name in ("b", "a", "C", "a-1"):
        schedules.create(REQUEST | {"name": name, "is_active": name != "b"})
    first = schedules.list(limit=3)
    assert [each.name for each in first] == ["C", "a", "a-1"]
    assert [each.name for each in schedules.list(after=first[-1].name)] == ["b"]
    assert [each.name for each in schedules.list(is_active=False)] == ["b"]
    assert [each.name for each in schedules.list(is_active=True)] == ["C", "a", "a-1"]


def test_members_that_are_not_named_stay(schedules: Schedules) -> None:
    before = schedules.create(REQUEST | {"metadata": {"a": "b"}, "timeout_seconds": 7}, b'{"n":1}')
    after = schedules.update("nightly", {"priority": "high", "timeout": "2m"}, from_json=True)
    assert (after.priority.word, after.timeout_seconds, after.metadata, after.payload) == (
        "high", 120.0, {"a": "b"}, b'{"n":1}',
    )  # fmt: skip
    assert (after.version, after.next_run_at) == (2, before.next_run_at)
    assert schedules.update("nightly", {"priority": "high"}).version == 2


def test_a_change_of_expression_or_zone_counts_from_now(schedules: Schedules, ledger: Ledger, database: str) -> None:
    schedules.create(REQUEST)
    with connect(database) as connection:
        connection.execute("update ledger.schedules set next_run_at = now() - interval '3 days'")
    changed = schedules.update("nightly", {"timezone": "Asia/Tokyo"})
    assert changed.next_run_at is not None
    assert changed.next_run_at > ledger.now()


def test_bad_changes_are_refused_before_the_schedule_is_looked_for(schedules: Schedules) -> None:
    with pytest.raises(InvalidRequest) as refused:
        schedules.update("nobody", {"cron_expression": "* * *", "name": None}, from_json=True)
    assert {breach.pointer for breach in refused.value.breaches} == {"/cron_expression", "/name"}


def test_paused_it_has_no_next_run_and_what_it_missed_is_not_caught_up(
    schedules: Schedules, ledger: Ledger, database: str
) -> None:
    schedules.create(REQUEST | {"cron_expression": "@every 1h"})
    paused = schedules.pause("nightly", "holidays")
    assert (paused.is_active, paused.next_run_at) == (False, None)
    assert schedules.pause("nightly").version == paused.version
    resumed = schedules.resume("nightly")
    assert resumed.next_run_at is not None
    assert ledger.now() < resumed.next_run_at <= resumed.created_at + timedelta(hours=2)
    assert schedules.resume("nightly").version == resumed.version


def test_d57_who_did_what_and_why_is_on_record(schedules: Schedules, database: str) -> None:
    schedules.create(REQUEST, actor="api:anna")
    schedules.pause("nightly", "holidays", actor="cli:bert")
    schedules.pause("nightly", "again", actor="cli:bert")
    schedules.resume("nightly", actor="cli:bert")
    schedules.update("nightly", {"queue": "slow"}, actor="api:anna", reason="too loud")
    schedules.run_now("nightly", actor="api:anna")
    schedules.delete("nightly", "obsolete", actor="mcp:carl")
    assert audit(database) == [
        ("api:anna", "schedule.created", "nightly", None, True, False),
        ("cli:bert", "schedule.paused", "nightly", "holidays", False, False),
        ("cli:bert", "schedule.resumed", "nightly", None, False, False),
        ("api:anna", "schedule.updated", "nightly", "too loud", False, False),
        ("api:anna", "schedule.run", "nightly", None, False, False),
        ("mcp:carl", "schedule.deleted", "nightly", "obsolete", False, True),
    ]


def test_a_demanded_version_that_is_stale_changes_nothing(schedules: Schedules, database: str) -> None:
    schedules.create(REQUEST)
    schedules.pause("nightly", if_version=1)
    for change in (
        lambda: schedules.resume("nightly", if_version=1),
        lambda: schedules.update("nightly", {"queue": "q"}, if_version=1),
        lambda: schedules.run_now("nightly", if_version=1),
        lambda: schedules.delete("nightly", if_version=1),
    ):
        with pytest.raises(ScheduleChanged) as refused:
            change()
        assert refused.value.version == 2
    assert len(audit(database)) == 2


def test_run_now_makes_a_job_also_while_paused_and_leaves_the_next_tick(schedules: Schedules, ledger: Ledger) -> None:
    before = schedules.create(REQUEST | {"queue": "slow", "priority": "low", "metadata": {"k": "v"}}, b'{"n": 1}')
    job = schedules.run_now("nightly", actor="api:anna")
    entry = ledger.history(job.id)[0]
    assert (entry.actor, entry.queue, entry.priority.word, entry.kind) == ("api:anna", "slow", "low", "enqueued")
    assert (job.request.schedule_id, job.request.tick_at, job.request.payload) == (before.id, None, b'{"n": 1}')
    assert job.request.metadata == {"k": "v"}
    after = schedules.get("nightly")
    assert (after.last_job_id, after.last_run_status, after.next_run_at) == (job.id, "enqueued", before.next_run_at)
    schedules.pause("nightly")
    assert schedules.run_now("nightly").request.schedule_id == before.id
    assert schedules.get("nightly").next_run_at is None


def test_a_deleted_one_is_gone_and_its_jobs_stay(schedules: Schedules, ledger: Ledger) -> None:
    schedules.create(REQUEST)
    job = schedules.run_now("nightly")
    assert schedules.delete("nightly").name == "nightly"
    with pytest.raises(ScheduleNotFound):
        schedules.get("nightly")
    assert ledger.get(job.id).version == 1


def test_next_times_are_those_of_the_schedules_zone(schedules: Schedules) -> None:
    schedules.create(REQUEST | {"timezone": "America/New_York"})
    times = schedules.next_times("nightly", 5)
    assert len(times) == 5
    assert {time.astimezone(schedules.get("nightly").zone).hour for time in times} == {3}
    assert all(isinstance(time, datetime) and time.tzinfo is UTC for time in times)


def test_one_that_is_defined_in_code_is_changed_there(schedules: Schedules, ledger: Ledger) -> None:
    schedules.define(new_definition(REQUEST, None, ledger.settings), "code")
    with pytest.raises(ScheduleInCode):
        schedules.update("nightly", {"cron_expression": "@daily"})
    assert not schedules.update("nightly", {"is_active": False}).is_active
    assert schedules.resume("nightly").is_active
    assert schedules.run_now("nightly").state == "ready"
    schedules.delete("nightly")


def test_of_two_writers_both_changes_stand(schedules: Schedules, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = schedules.create(REQUEST)
    schedules.update("nightly", {"queue": "slow"})
    read, get = [], Schedules.get
    monkeypatch.setattr(
        Schedules, "get", lambda self, key: read.append(key) or (stale if len(read) == 1 else get(self, key))
    )
    after = schedules.update("nightly", {"priority": "low"})
    assert (after.queue, after.priority.word, after.version, len(read)) == ("slow", "low", 3, 2)
