"""The command line: what every command shows, what goes to stdout, and with which exit code it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner, Result

from ledger import Ledger, cli_output, errors
from ledger.cli import OWN, SUMMARIES, main
from ledger.cli_config import masked
from ledger.cli_failures import ExitCode, failure_of

if TYPE_CHECKING:
    from collections.abc import Iterator

UNKNOWN = "019f7c3e-5a10-7000-8000-000000000000"


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.fixture
def run(database: str, redis_url: str):
    """Run `ledger` against real servers."""
    environment = {"DATABASE_URL": database, "REDIS_URL": redis_url}

    def invoke(*arguments: str, **options) -> Result:
        return CliRunner(env=environment).invoke(main, list(arguments), prog_name="ledger", **options)

    return invoke


@pytest.fixture
def ledger(database: str, redis_url: str) -> Iterator[Ledger]:
    ledger = Ledger(database_url=database, redis_url=redis_url)
    yield ledger
    ledger.close()


def test_every_command_has_an_example_and_fits_a_terminal():
    faults = []
    for path, command in commands(main):
        result = CliRunner().invoke(main, [*path, "--help"], prog_name="ledger", terminal_width=80)
        name = " ".join(path)
        assert result.exit_code == 0, f"{name}: {result.output}"
        faults += [f"{name}: too wide: {line}" for line in result.output.splitlines() if len(line) > 80]
        if not isinstance(command, click.Group) and f"  ledger {name}" not in result.output:
            faults.append(f"{name}: no example")
        if not command.help:
            faults.append(f"{name}: says nothing about itself")
    assert not faults, "\n".join(faults)


def test_the_first_page_says_what_the_commands_say():
    context = click.Context(main)
    told = {name: text for section in SUMMARIES.values() for name, text in section.items()}
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        assert told[name] == command.get_short_help_str(limit=200), name


def test_help_is_quick_because_it_loads_no_room():
    heavy = ("falcon", "alembic", "psycopg", "redis", "sqlalchemy", "rich", "structlog", "gunicorn")
    code = (
        "import sys; from ledger.cli import main; main(['--help'], standalone_mode=False); "
        f"sys.exit(' '.join(sorted(set(sys.modules) & set({heavy!r}))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"imported: {done.stderr}"
    assert "Start here" in done.stdout


@pytest.mark.parametrize(("typed", "meant"), [("wrker", "worker"), ("shcedule", None), ("job lst", "list")])
def test_a_typo_is_answered_with_the_nearest_command(typed: str, meant: str | None):
    result = CliRunner().invoke(main, typed.split())
    assert result.exit_code == ExitCode.USAGE
    assert "No such command" in result.stderr
    if meant:
        assert f"Did you mean '{meant}'" in result.stderr
    assert not result.stdout


def test_own_commands_are_where_the_table_says():
    for name in OWN:
        assert isinstance(main.get_command(click.Context(main), name), click.Command)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidRequest([errors.Breach("/delay", "no")]), 2),
        (errors.InvalidSettings(["API_PORT=x: no"]), 2),
        (errors.JobNotFound("x"), 3),
        (errors.VersionConflict(UNKNOWN, 2), 4),
        (errors.CommandRefused(UNKNOWN, "retry", "ready", 1, "no"), 4),
        (errors.IdempotencyConflict("k", UNKNOWN), 4),
        (errors.Unavailable("gone"), 5),
        (errors.CorruptHistory("?"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_error_has_its_exit_code(error: BaseException, code: int):
    assert failure_of(error).exit_code == code


def test_enqueue_prints_the_job_and_json_is_the_resource(run, ledger: Ledger):
    told = run("job", "enqueue", "mail.send", "--payload", '{"n": 1.0}', "--queue", "mail", "--priority", "high")
    assert told.exit_code == 0, told.stderr
    noun, _, rest = told.stdout.partition("/")
    job = ledger.get(rest.split()[0])
    assert (noun, rest.split()[1], job.queue, job.priority.word) == ("job", "enqueued", "mail", "high")
    assert job.request.payload == b'{"n": 1.0}'
    assert ledger.history(job.id)[0].actor == cli_output.actor()

    shown = json.loads(run("job", "get", str(job.id), "-o", "json").stdout)
    assert shown["id"] == str(job.id)
    assert shown["payload"] == {"n": 1.0}
    assert shown["result"] is None


def test_payload_from_stdin_and_every_breach_at_once(run):
    ok = run("job", "enqueue", "mail.send", "--payload", "-", input='{"to": "ä"}')
    assert ok.exit_code == 0, ok.stderr
    bad = run("job", "enqueue", "mail send", "--delay", "3", "--priority", "urgent")
    assert bad.exit_code == ExitCode.USAGE
    assert all(name in bad.stderr for name in ("type:", "delay:", "priority:"))
    assert not bad.stdout
    for payload in ("[1]", "{", '{"a": 1, "a": 2}', ""):
        assert run("job", "enqueue", "mail.send", "--payload", payload).exit_code == ExitCode.USAGE, payload


def test_verbs_change_the_job_and_say_why(run, ledger: Ledger):
    job_id = str(ledger.enqueue("mail.send", delay="5m"))
    assert run("job", "run-now", job_id, "--reason", "in a hurry").stdout == f"job/{job_id} made ready\n"
    assert run("job", "cancel", job_id, "--reason", "sent by hand").stdout == f"job/{job_id} cancelled\n"
    told = run("job", "events", job_id).stdout
    assert [word for line in told.splitlines() for word in ("scheduled", "enqueued", "cancelled") if word in line]
    assert "in a hurry" in told
    assert "sent by hand" in told
    assert [event["kind"] for event in json.loads(run("job", "events", job_id, "-o", "json").stdout)] == [
        "scheduled",
        "enqueued",
        "cancelled",
    ]
    assert run("job", "retry", job_id).exit_code == ExitCode.CONFLICT
    assert run("job", "cancel", job_id).exit_code == 0  # twice is as good as once


def test_a_job_as_it_was(run, ledger: Ledger):
    job_id = str(ledger.enqueue("mail.send", delay="5m"))
    ledger.cancel(job_id)
    assert json.loads(run("job", "at", job_id, "--version", "1", "-o", "json").stdout)["state"] == "scheduled"
    assert run("job", "at", job_id, "--version", "9").exit_code == ExitCode.NOT_FOUND
    assert run("job", "at", job_id, "--time", "2020-01-01T00:00:00Z").exit_code == ExitCode.NOT_FOUND
    assert run("job", "at", job_id).exit_code == ExitCode.USAGE


def test_following_ends_with_the_job(run, ledger: Ledger):
    job_id = str(ledger.enqueue("mail.send"))
    ledger.cancel(job_id)
    array = json.loads(run("job", "events", job_id, "--follow", "-o", "json").stdout)
    assert [event["kind"] for event in array] == ["enqueued", "cancelled"]
    lines = run("job", "events", job_id, "--follow", "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == array


def test_waiting_for_the_end_tells_the_job_once_as_it_ended(run, ledger: Ledger):
    key = ("--idempotency-key", "once")
    job_id = run("job", "enqueue", "mail.send", *key).stdout.split()[0].partition("/")[2]
    ledger.cancel(job_id)
    for output in ("json", "jsonl"):
        waited = run("job", "enqueue", "mail.send", *key, "--wait", "-o", output)
        assert (waited.exit_code, json.loads(waited.stdout)["state"]) == (1, "cancelled")
        assert waited.stderr == "error: the job is cancelled\n"
    words = run("job", "enqueue", "mail.send", *key, "--wait").stdout.splitlines()
    assert words[0] == f"job/{job_id} enqueued already"
    assert "cancelled" in words[-1]


EMPTY = ("queue", "priority", "timeout", "delay", "scheduled-at", "expires-at", "retry", "idempotency-key",
         "correlation-id", "id")  # fmt: skip


@pytest.mark.parametrize("option", EMPTY)
def test_d38_an_option_that_is_given_but_empty_is_refused_and_not_ignored(run, option: str):
    refused = run("job", "enqueue", "mail.send", f"--{option}", "")
    assert refused.exit_code == ExitCode.USAGE
    assert f"{option.replace('-', '_')}" in refused.stderr
    assert not refused.stdout


def test_a_payload_file_that_is_not_there_is_a_bad_value(run, tmp_path):
    for name in (tmp_path / "none.json", tmp_path):
        refused = run("job", "enqueue", "mail.send", "--payload", f"@{name}")
        assert refused.exit_code == ExitCode.USAGE, refused.output
        assert f"{name} cannot be read" in refused.stderr
    (tmp_path / "payload.json").write_text('{"to": "ä"}')
    assert run("job", "enqueue", "mail.send", "--payload", f"@{tmp_path / 'payload.json'}").exit_code == 0


def test_metadata_that_names_a_key_twice_is_refused(run):
    twice = run("job", "enqueue", "mail.send", "--metadata", "a=1", "--metadata", "a=2")
    assert (twice.exit_code, twice.stdout) == (ExitCode.USAGE, "")
    assert "twice" in twice.stderr


@pytest.mark.parametrize("verb", ["get", "events", "cancel", "retry", "run-now"])
@pytest.mark.parametrize("job_id", [UNKNOWN, "no-id"])
def test_unknown_jobs_are_not_found(run, verb: str, job_id: str):
    result = run("job", verb, job_id)
    assert result.exit_code == ExitCode.NOT_FOUND
    assert result.stderr.startswith("error: job not found")


def test_without_servers_it_says_how_to_get_some(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["job", "get", UNKNOWN])
    assert result.exit_code == ExitCode.UNAVAILABLE
    assert "ledger dev" in result.stderr
    assert "DATABASE_URL" in result.stderr


def test_an_unreachable_server_is_unavailable_and_its_password_stays_secret():
    environment = {"DATABASE_URL": "postgresql://app:hush@127.0.0.1:1/app", "REDIS_URL": "redis://127.0.0.1:1"}
    result = CliRunner(env=environment).invoke(main, ["job", "get", UNKNOWN])
    assert result.exit_code == ExitCode.UNAVAILABLE
    assert result.stderr.startswith("error: Postgres at 127.0.0.1:1/app")
    assert len(result.stderr.splitlines()) == 1
    assert "hush" not in result.output


@pytest.mark.parametrize("service", [["scheduler"], ["projector"], ["worker", "ledger.example:ledger"], ["api"]])
def test_a_service_with_a_bad_setting_says_so_in_json(service: list[str]):
    result = CliRunner(env={"LOG_FORMAT": "json", "API_PORT": "x"}).invoke(main, service)
    assert result.exit_code == ExitCode.USAGE
    (line,) = result.stderr.splitlines()
    assert "API_PORT=x" in json.loads(line)["event"]


@pytest.mark.parametrize("arguments", [["worker", "nobody"], ["api", "--port", "x"], ["scheduler", "--nonsense"]])
def test_whatever_ends_a_service_is_a_line_of_json_for_who_reads_its_log(arguments: list[str], tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(main, arguments)  # the default format; nobody looks
    (line,) = refused.stderr.splitlines()
    assert json.loads(line)["exit_code"] == refused.exit_code == ExitCode.USAGE
    (tmp_path / ".env").write_text("LOG_FORMAT=console\n")
    assert "rror: " in CliRunner().invoke(main, arguments).stderr.splitlines()[-1]
    (tmp_path / ".env").write_text("LOG_FORMAT=json\n")
    assert CliRunner().invoke(main, arguments).stderr.startswith("{")


@pytest.mark.parametrize("arguments", [["worker", "list"], ["stats"], ["worker", "list", "--nonsense"]])
def test_a_command_that_shows_something_speaks_in_words(arguments: list[str]):
    refused = CliRunner(env={"LOG_FORMAT": "json", "API_PORT": "x"}).invoke(main, arguments)
    assert refused.exit_code == ExitCode.USAGE
    assert "rror: " in refused.stderr.splitlines()[-1]


def test_a_service_says_it_to_people_on_a_terminal(monkeypatch):
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    said = CliRunner(env={"API_PORT": "x", "NO_COLOR": "1"}).invoke(main, ["projector"]).stderr
    assert said.endswith("API_PORT=x: must be a whole number from 0 to 65535\n")
    assert "{" not in said


def test_settings_with_their_sources_and_without_secrets(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("API_PORT=9000\n")
    environment = {"DATABASE_URL": "postgresql://app:hush@db/app", "WORKER_QUEUES": "a:2,b:1"}
    result = CliRunner(env=environment).invoke(main, ["config", "show", "-o", "json"])
    found = {each["name"]: each for each in json.loads(result.stdout)}
    assert found["DATABASE_URL"]["value"] == "postgresql://app:•••@db/app"
    assert found["WORKER_QUEUES"]["value"] == "a:2,b:1"
    assert (found["API_PORT"]["value"], found["API_PORT"]["source"]) == ("9000", ".env")
    assert found["JOB_IDEMPOTENCY_TTL"]["value"] == "24h"  # as it may be written, too
    assert (found["DATABASE_URL"]["source"], found["LOG_LEVEL"]["source"]) == ("environment", "default")
    assert "hush" not in result.output
    assert masked("redis://:hush@[::1]:6379/0") == "redis://:•••@[::1]:6379/0"
    assert "hush" not in masked("postgresql://db/app?password=hush&sslpassword=hush&user=app")


def test_check_needs_no_server():
    assert CliRunner().invoke(main, ["check"]).exit_code == 0
    fine = CliRunner().invoke(main, ["check", "ledger.example:ledger"])
    assert "example.hello" in fine.stdout
    assert CliRunner(env={"API_PORT": "x"}).invoke(main, ["check"]).exit_code == ExitCode.USAGE
    assert CliRunner().invoke(main, ["check", "no.such.module"]).exit_code == ExitCode.ERROR


APPLICATION = """
from ledger import Ledger

ledger = Ledger()

@ledger.schedule("0 3 * * *", timezone="Europe/Berlin")
@ledger.schedule("@every 90s", name="often")
@ledger.job("report.build", queue="reports")
def build():
    ...
"""


def test_check_lists_what_an_application_knows_and_what_it_has_run_by_the_clock(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "checked_app.py").write_text(APPLICATION)
    told = CliRunner().invoke(main, ["check", "checked_app:ledger"])
    assert told.stdout.splitlines() == [
        "settings  ok",
        "checked_app:ledger  1 job type: report.build",
        "checked_app:ledger  2 schedules:",
        "  often  @every 90s  UTC  report.build",
        "  report.build  0 3 * * *  Europe/Berlin  report.build",
    ]
    assert told.stderr == "warning: WORKER_QUEUES does not name queue reports, where report.build jobs go\n"
    taken = CliRunner(env={"WORKER_QUEUES": "reports"}).invoke(main, ["check", "checked_app:ledger", "-o", "json"])
    found = json.loads(taken.stdout)
    assert (found["settings"], found["warnings"], taken.stderr) == ("ok", [], "")
    assert found["application"]["job_types"] == ["report.build"]
    assert [each["name"] for each in found["application"]["schedules"]] == ["often", "report.build"]
    tight = CliRunner(env={"JOB_MAX_PAYLOAD": "1"}).invoke(main, ["check", "checked_app:ledger"])
    assert tight.exit_code == ExitCode.USAGE, "the schedules' payloads are larger than these settings allow"


def test_check_says_where_an_application_breaks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "broken_app.py").write_text("\n1 / 0\n")
    broken = CliRunner().invoke(main, ["check", "broken_app:ledger"])
    assert broken.exit_code == ExitCode.ERROR
    assert broken.stderr.splitlines()[0].startswith("error: broken_app:ledger cannot be imported: ZeroDivisionError")
    assert "line 2 of " in broken.stderr


def test_doctor_finds_nothing_failing_in_a_fresh_installation(run):
    result = run("doctor", "-o", "json")
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}
    assert findings["migrations"]["verdict"] == "ok"
    assert findings["workers"]["verdict"] == "warning"
    assert "ledger worker" in findings["workers"]["advice"]
    harsh = {"fsync", "full_page_writes", "synchronous_commit"}  # the test servers are in a hurry
    assert not [f for f in findings.values() if f["verdict"] == "failing" and f["name"] not in harsh]
    assert all(finding["advice"] for finding in findings.values() if finding["verdict"] != "ok")


def test_doctor_fails_before_the_migrations(empty_database: str, redis_url: str):
    environment = {"DATABASE_URL": empty_database, "REDIS_URL": redis_url}
    result = CliRunner(env=environment).invoke(main, ["doctor", "-o", "json"])
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}
    assert result.exit_code == ExitCode.ERROR
    assert findings["migrations"]["verdict"] == "failing"
    assert "ledger db migrate" in findings["migrations"]["advice"]


def test_db_migrates_once_and_says_where_it_is(empty_database: str, redis_url: str):
    runner = CliRunner(env={"DATABASE_URL": empty_database, "REDIS_URL": redis_url})
    assert runner.invoke(main, ["db", "status"]).exit_code == ExitCode.ERROR
    assert "from empty" in runner.invoke(main, ["db", "migrate"]).stderr
    assert "already" in runner.invoke(main, ["db", "migrate"]).stderr
    state = runner.invoke(main, ["db", "status", "-o", "json"])
    assert runner.invoke(main, ["db", "migrate", "-o", "json"]).stdout == state.stdout
    assert (state.exit_code, json.loads(state.stdout)["up_to_date"]) == (0, True)


def test_no_colour_where_nobody_looks(run, ledger: Ledger):
    job_id = str(ledger.enqueue("mail.send"))
    assert "\x1b" not in run("job", "events", job_id).output


def test_version():
    assert CliRunner().invoke(main, ["--version"]).stdout.strip()[0].isdigit()
