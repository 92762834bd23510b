"""The command as a process: its exit codes, how soon it starts, and what it writes to a terminal and to a pipe."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from ledger import Ledger
from ledger.runtime.database import Database
from tests.support.lives import fold_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEDGER = [sys.executable, "-m", "ledger"]
UNKNOWN = "019f7c3e-5a10-7000-8000-000000000000"
PATIENCE = 60

Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def ledger(database: str, redis_url: str) -> Iterator[Ledger]:
    ledger = Ledger(database_url=database, redis_url=redis_url)
    yield ledger
    ledger.close()


@pytest.fixture
def environment(database: str, redis_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database, "REDIS_URL": redis_url, "PATH": os.environ["PATH"]}


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    def invoke(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*LEDGER, *arguments],
            env=environment | more,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    return invoke


def test_exit_code_0_and_data_alone_on_stdout(run: Run, ledger: Ledger):
    job_id = str(ledger.enqueue("mail.send"))
    done = run("job", "get", job_id, "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["id"], done.stderr) == (0, job_id, "")


def test_a_command_demands_only_the_server_it_uses(run: Run, environment: dict[str, str], database: str):
    with closing(Database(database)) as pool:
        fold_all(pool)
    del environment["REDIS_URL"]
    for command in ("db migrate", "db status", "job list", "queue list", "worker list", "dlq list", "key list",
                    "execution list", "projection list", "rebuild-projections jobs"):  # fmt: skip
        done = run(*command.split())
        assert done.returncode == 0, (command, done.stderr)
    for command in ("projector", "scheduler", "verify", "rebuild-projections", "api --port 0"):
        done = run(*command.split())
        assert (done.returncode, done.stdout) == (5, "")
        assert "REDIS_URL is not set" in done.stderr
    assert "REDIS_URL is not set" in run("doctor").stdout


def test_exit_code_1_for_an_error(run: Run):
    done = run("check", "no.such.module")
    assert (done.returncode, done.stdout.strip()) == (1, "settings  ok")
    assert "error:" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["job", "enqueue"],
        ["job", "enqueue", "a", "--delay", "soon"],
        ["job", "list", "--limit", "0"],
        ["job", "get", UNKNOWN, "--version", "1", "--as-of", "2020-01-01T00:00:00Z"],
        ["job", "get", UNKNOWN, "--as-of", "yesterday"],
        ["job", "get", UNKNOWN, "-o", "yaml"],
        ["nonsense"],
    ],
)
def test_exit_code_2_for_wrong_usage(run: Run, arguments: list[str]):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


def test_exit_code_2_for_a_bad_setting(run: Run):
    assert run("stats", API_PORT="x").returncode == 2


def test_exit_code_3_for_what_is_not_there(run: Run):
    assert run("job", "get", UNKNOWN).returncode == 3


def test_exit_code_4_for_what_is_not_allowed_now(run: Run, ledger: Ledger):
    assert run("job", "retry", str(ledger.enqueue("mail.send"))).returncode == 4


def test_exit_code_5_without_postgres(run: Run):
    done = run("job", "get", UNKNOWN, DATABASE_URL="postgresql://app:hush@127.0.0.1:1/app")
    assert done.returncode == 5
    assert "hush" not in done.stderr


def test_exit_code_130_when_interrupted(environment: dict[str, str], tmp_path: Path, ledger: Ledger):
    job_id = str(ledger.enqueue("mail.send"))
    process = subprocess.Popen(
        [*LEDGER, "job", "events", job_id, "--follow", "-o", "jsonl"],
        env=environment | {"PYTHONUNBUFFERED": "1"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore SIGINT, and hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 — no other thread
    )
    with process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["kind"] == "enqueued"
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert words == "error: interrupted\n"


def test_following_shows_what_happens_meanwhile(environment: dict[str, str], tmp_path: Path, ledger: Ledger):
    job_id = str(ledger.enqueue("mail.send"))
    with subprocess.Popen(
        [*LEDGER, "job", "events", job_id, "--follow", "-o", "jsonl"],
        env=environment | {"PYTHONUNBUFFERED": "1"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["kind"] == "enqueued"
        ledger.cancel(job_id)
        rest, _ = process.communicate(timeout=PATIENCE)
    assert [json.loads(line)["kind"] for line in rest.splitlines()] == ["cancelled"]
    assert process.returncode == 0


def test_a_list_is_an_array_or_a_line_each(run: Run, ledger: Ledger):
    job_id = str(ledger.enqueue("mail.send", delay="1h"))
    ledger.cancel(job_id)
    array = json.loads(run("job", "events", job_id, "-o", "json").stdout)
    lines = run("job", "events", job_id, "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == array
    assert len(array) == 2
    (line,) = run("job", "get", job_id, "-o", "jsonl").stdout.splitlines()
    assert json.loads(line)["version"] == 2


def test_a_job_as_it_was_at_a_version_or_a_time(run: Run, ledger: Ledger):
    job_id = str(ledger.enqueue("mail.send", delay="1h"))
    first = ledger.history(job_id)[0].at.isoformat()
    ledger.cancel(job_id)
    for chosen in (["--version", "1"], ["--as-of", first]):
        shown = json.loads(run("job", "get", job_id, *chosen, "-o", "json").stdout)
        assert (shown["version"], shown["state"]) == (1, "scheduled")
    assert run("job", "get", job_id, "--version", "3").returncode == 3


def test_times_as_people_or_machines_say_them(run: Run, ledger: Ledger):
    job_id = str(ledger.enqueue("mail.send"))
    assert " ago" in run("job", "get", job_id, "--time-format", "relative").stdout
    iso = run("job", "get", job_id, "--time-format", "iso").stdout
    assert ledger.get(job_id).created_at.strftime("%Y-%m-%dT%H:%M:%S") in iso
    assert " ago" not in iso


def test_colour_is_for_terminals_that_want_it(environment: dict[str, str], tmp_path: Path, ledger: Ledger):
    job_id = str(ledger.enqueue("mail.send", priority="critical"))
    coloured = on_a_terminal(["job", "get", job_id], environment, tmp_path)
    plain = on_a_terminal(["job", "get", job_id], environment | {"NO_COLOR": "1"}, tmp_path)
    assert "\x1b[34mready" in coloured
    assert "ready" in plain
    assert "\x1b[3" not in plain.replace("\x1b[39m", "")


def test_a_narrow_terminal_gets_whole_words_and_fewer_columns(
    environment: dict[str, str], tmp_path: Path, ledger: Ledger, database: str
):
    job_id = str(ledger.enqueue("reports.build.everything", queue="a-queue-of-some-length"))
    pool = Database(database)
    fold_all(pool)
    pool.close()
    narrow = on_a_terminal(["job", "list"], environment | {"COLUMNS": "80", "NO_COLOR": "1"}, tmp_path)
    lines = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", narrow).splitlines() if line.strip()]
    assert max(map(len, lines)) <= 80
    (row,) = [line for line in lines if job_id in line]
    assert "ready" in row
    assert " ago" in row
    assert lines[-1] == "left out for want of room: Runs, Priority, Queue"
    wide = on_a_terminal(["job", "list"], environment | {"COLUMNS": "160"}, tmp_path)
    assert all(word in wide for word in ("a-queue-of-some-length", "medium", job_id))
    assert "left out" not in wide


def test_a_pipe_gets_all_columns_and_no_trailing_blanks(run: Run, ledger: Ledger, database: str):
    ledger.enqueue("t" * 100, queue="q" * 50)
    pool = Database(database)
    fold_all(pool)
    pool.close()
    done = run("job", "list", COLUMNS="40")
    heading, row = done.stdout.splitlines()
    assert heading.split() == ["ID", "Type", "Queue", "Priority", "State", "Runs", "Created"]
    assert row.split()[1:4] == ["t" * 100, "q" * 50, "medium"]
    assert [line.rstrip() for line in (heading, row)] == [heading, row]


def test_a_help_page_costs_little_more_than_python_itself():
    bare = quickest([sys.executable, "-c", "pass"])
    assert quickest([sys.executable, "-c", "import ledger"]) < 8 * bare
    assert quickest([*LEDGER, "--help"]) < 25 * bare


def quickest(command: list[str]) -> float:
    """Return the best time of several: what else the machine does only ever makes it longer."""
    times = []
    for _ in range(5):
        begun = time.monotonic()
        subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True)
        times.append(time.monotonic() - begun)
    return min(times)


def on_a_terminal(arguments: list[str], environment: dict[str, str], directory: Path) -> str:
    """Run the command on a pseudo-terminal and return what it showed."""
    ours, theirs = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        try:
            while part := os.read(ours, 4096):
                shown.append(part)
        except OSError:  # how Linux says that the other side has closed it
            pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        subprocess.run(
            [*LEDGER, *arguments],
            env=environment | {"TERM": "xterm"},
            cwd=directory,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            timeout=PATIENCE,
            check=True,
        )
    finally:
        os.close(theirs)
        reader.join(PATIENCE)
        os.close(ours)
    return b"".join(shown).decode()
