"""`ledger schedule`: schedules made, seen, changed, run by hand and taken away from the command line."""

from __future__ import annotations

import orjson
import psycopg
import pytest
from click.testing import CliRunner

from ledger.cli import main
from ledger.cli_output import actor

DAILY = ("--job-type", "report.build", "--cron", "0 8 * * *")


@pytest.fixture
def run(database, redis_url, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("REDIS_URL", redis_url)

    def invoke(*arguments: object, exit_code: int = 0, **options):
        result = CliRunner().invoke(main, ["schedule", *map(str, arguments)], **options)
        assert result.exit_code == exit_code, result.output
        return result

    return invoke


def shown(run, *arguments: object):
    return orjson.loads(run(*arguments, "-o", "json").stdout)


def test_d03_a_schedule_is_made_as_it_was_asked_for(run, tmp_path):
    file = tmp_path / "payload.json"
    file.write_text('{"to": "a@b.c", "n": 1.0}')
    options = ("--timezone", "Europe/Berlin", "--queue", "mail", "--priority", "high", "--max-retries", 0, "--timeout",
               "90s", "--metadata", "tenant=7", "--metadata", "note=", "--catch-up", "all", "--catch-up-window-seconds",
               60, "--overlap", "skip", "--payload", f"@{file}")  # fmt: skip
    assert run("create", "nightly", *DAILY, *options).stdout == "schedule/nightly created\n"
    made = shown(run, "get", "nightly")
    asked = {
        "name": "nightly", "job_type": "report.build", "cron_expression": "0 8 * * *", "timezone": "Europe/Berlin",
        "queue": "mail", "priority": "high", "max_retries": 0, "timeout_seconds": 90.0, "catch_up": "all",
        "metadata": {"tenant": "7", "note": ""}, "catch_up_window_seconds": 60.0, "overlap": "skip", "is_active": True,
        "payload": {"to": "a@b.c", "n": 1.0}, "version": 1,
    }  # fmt: skip
    assert {member: made[member] for member in asked} == asked
    assert '{"to": "a@b.c", "n": 1.0}' in run("get", made["id"], "-o", "json").stdout
    assert "report.build" in run("get", "nightly").stdout


def test_the_payload_may_come_from_stdin_and_the_default_is_empty(run):
    assert shown(run, "create", "bare", *DAILY)["payload"] == {}
    result = run("create", "piped", *DAILY, "--payload", "-", "-o", "json", input='{"a": 1}')
    assert orjson.loads(result.stdout)["payload"] == {"a": 1}


def test_the_table_says_when_each_is_due_next(run):
    run("create", "b", *DAILY)
    run("create", "a", *DAILY, "--paused")
    head, first, second = run("list").stdout.splitlines()
    assert head.split()[:2] == ["Schedule", "Expression"]
    assert first.startswith("a ")
    assert "paused" in first
    assert second.startswith("b ")
    assert "T08:00:00.000000Z" in second
    assert [each["name"] for each in shown(run, "list")] == ["a", "b"]
    assert [each["name"] for each in shown(run, "list", "--paused")] == ["a"]
    assert [orjson.loads(line)["name"] for line in run("list", "-o", "jsonl").stdout.splitlines()] == ["a", "b"]


def test_a_long_list_is_complete(run, monkeypatch):
    monkeypatch.setattr("ledger_scheduler.cli_schedules.PAGE", 2)
    names = [f"s{number}" for number in range(5)]
    for each in names:
        run("create", each, *DAILY)
    assert [each["name"] for each in shown(run, "list")] == names


def test_an_update_changes_what_is_given_and_nothing_else(run):
    before = shown(run, "create", "nightly", *DAILY, "--payload", '{"a": 1}', "--metadata", "a=b")
    assert run("update", "nightly", "--cron", "30 7 * * *").stdout == "schedule/nightly updated\n"
    after = shown(run, "get", "nightly")
    assert {member for member in before if before[member] != after[member]} == {
        "version", "cron_expression", "next_run_at", "updated_at",
    }  # fmt: skip
    renamed = shown(run, "update", "nightly", "--name", "daily", "--payload", '{"a": 2}')
    assert (renamed["name"], renamed["payload"], renamed["id"]) == ("daily", {"a": 2}, before["id"])
    assert "say what to change" in run("update", "daily", exit_code=2).output


def test_d57_who_changed_a_schedule_and_why_is_on_record(run, database):
    run("create", "nightly", *DAILY)
    assert run("pause", "nightly", "--reason", "holiday").stdout == "schedule/nightly paused\n"
    assert shown(run, "get", "nightly")["next_run_at"] is None
    assert run("resume", "nightly").stdout == "schedule/nightly resumed\n"
    assert shown(run, "delete", "nightly", "--reason", "obsolete")["status"] == "deleted"
    with psycopg.connect(database) as connection:
        rows = connection.execute("select action, actor, reason from ledger.audit order by position").fetchall()
    assert rows == [
        ("schedule.created", actor(), None),
        ("schedule.paused", actor(), "holiday"),
        ("schedule.resumed", actor(), None),
        ("schedule.deleted", actor(), "obsolete"),
    ]


def test_a_schedule_runs_by_hand(run):
    made = shown(run, "create", "nightly", *DAILY, "--paused")
    job = shown(run, "run-now", "nightly")
    assert (job["type"], job["state"], job["schedule_id"]) == ("report.build", "ready", made["id"])
    words = run("run-now", "nightly").stdout.split()
    assert words == [f"job/{shown(run, 'get', 'nightly')['last_job_id']}", "enqueued"]


def test_the_next_ticks_are_shown_in_utc_and_in_the_zone(run):
    run("create", "nightly", *DAILY, "--timezone", "Asia/Kolkata")
    ticks = shown(run, "next", "nightly", "-n", 3)
    assert [(tick["at"][10:], tick["local"][10:]) for tick in ticks] == [
        ("T02:30:00.000000Z", "T08:00:00.000000+05:30")
    ] * 3
    _, *rows = run("next", "nightly").stdout.splitlines()
    assert len(rows) == 10
    run("next", "nightly", "-n", 101, exit_code=2)


@pytest.mark.parametrize("options", [
    ("--job-type", "t", "--cron", "61 * * * *"), ("--job-type", "t", "--cron", "0 0 30 2 *"), ("--cron", "@daily"),
    (*DAILY, "--timezone", "Mars/Olympus"), (*DAILY, "--payload", "[]"), (*DAILY, "--metadata", "a"),
    (*DAILY, "--priority", "urgent"), (*DAILY, "--timeout", "1d"),
])  # fmt: skip
def test_d30_what_cannot_be_ends_with_exit_code_2(run, options):
    run("create", "bad", *options, exit_code=2)
    assert shown(run, "list") == []


def test_the_unknown_ends_with_3_and_a_taken_name_with_4(run):
    for verb in ("get", "delete", "pause", "resume", "run-now", "next"):
        assert "schedule not found: nobody" in run(verb, "nobody", exit_code=3).stderr
    run("update", "nobody", "--queue", "q", exit_code=3)
    run("create", "nightly", *DAILY)
    run("create", "nightly", *DAILY, exit_code=4)
