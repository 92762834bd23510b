"""Workers that die, by the kernel or by a job: leases are closed at once, and only the guilty are convicted."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from ledger.events import Enqueued, Kind, Leased
from tests.support.working import (
    Pump,
    ended,
    kinds,
    ledger_on,
    reached,
    send,
    until,
    worker_command,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from ledger import Ledger

FAIL_POINTS = ["after_lease", "before_handler", "after_handler", "before_append", "after_append"]


@pytest.fixture
def ledger(database: str, redis_url: str) -> Iterator[Ledger]:
    with ledger_on(database, redis_url) as ledger:
        yield ledger


def workers(ledger: Ledger) -> list[tuple[str, int]]:
    with psycopg.connect(ledger.database_url) as connection:
        return connection.execute("select id, pid from ledger.workers order by id").fetchall()


def pid_of(path: Path, attempt: int = 1) -> int:
    note = Path(f"{path}.{attempt}.pid")
    return int(until(lambda: note.exists() and note.read_text()))


def leases(ledger: Ledger, job_id: UUID) -> list[int]:
    return [entry.version for entry in ledger.history(job_id) if isinstance(entry.event, Leased)]


def test_t1_d07_a_worker_killed_in_a_run_gives_the_job_back_at_once(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "job"
    with worker_command(ledger) as command:
        job_id = send(ledger, "wait_for_file", {"path": str(path)})
        victim = pid_of(path)
        os.kill(victim, signal.SIGKILL)
        reached(ledger, job_id, "ready", seconds=10)  # far less than the silence the scheduler waits for
        event = ledger.history(job_id)[-1].event
        assert isinstance(event, Enqueued)
        assert (event.reason, event.crash_count) == ("lease_expired", 1)
        Path(f"{path}.go").touch()
        (job,) = Pump(ledger, job_id).until("succeeded")
        assert (job.attempt, job.crash_count, job.retry_count) == (2, 1, 0)
        assert leases(ledger, job_id) == [2, 4]
        runner, token = job.result
        assert token == 4
        # After a crash it is run alone, in a process that is not the worker's own.
        assert runner not in {victim, command.process.pid, *(pid for _, pid in workers(ledger))}
        until(lambda: victim not in {pid for _, pid in workers(ledger)}, 15)


@pytest.mark.parametrize("point", FAIL_POINTS)
def test_t1_d25_killed_at_any_step_a_job_ends_exactly_once(ledger: Ledger, point: str) -> None:
    with worker_command(ledger, LEDGER_FAILPOINTS=point) as command:
        job_id = send(ledger, "add", {"a": 2, "b": 3})
        until(lambda: "worker died" in command.output)
        reached(ledger, job_id, "ready", "succeeded", seconds=15)
    history = kinds(ledger, job_id)
    assert Kind.LEASED in history
    assert ledger.get(job_id).crash_count == (point not in ("after_lease", "after_append"))
    with worker_command(ledger):
        (job,) = Pump(ledger, job_id).until("succeeded")
    assert job.result == 5
    assert kinds(ledger, job_id).count(Kind.SUCCEEDED) == 1


def test_t9_d18_a_job_that_kills_its_workers_is_dead_lettered_and_its_neighbours_are_not(
    ledger: Ledger, tmp_path: Path
) -> None:
    with worker_command(ledger):
        innocent = [send(ledger, "wait_for_file", {"path": str(tmp_path / str(number))}) for number in range(4)]
        pids = {pid_of(tmp_path / str(number)) for number in range(4)}
        assert len(pids) == 1
        poison = send(ledger, "die")
        for number in range(4):
            (tmp_path / f"{number}.go").touch()
        dead, *others = Pump(ledger, poison, *innocent).until("dead", "succeeded")
    assert (dead.state, dead.death.reason, dead.crash_count) == ("dead", "poison", 3)
    assert {job.state for job in others} == {"succeeded"}
    assert all(job.crash_count <= 1 for job in others)
    assert ledger.history(poison)[-1].actor.startswith("worker:")


def test_a_handler_that_holds_the_interpreter_cannot_stop_the_heartbeat(ledger: Ledger) -> None:
    beats = {"WORKER_HEARTBEAT_INTERVAL": "200ms", "SCHEDULER_STALE_JOB_TIMEOUT": "2s"}
    with worker_command(ledger, **beats), psycopg.connect(ledger.database_url, autocommit=True) as connection:
        job_id = send(ledger, "hold_the_gil", {"seconds": 4})
        reached(ledger, job_id, "running")
        ages = []

        def over() -> bool:
            query = "select extract(epoch from clock_timestamp() - heartbeat_at) from ledger.workers"
            ages.extend(float(age) for (age,) in connection.execute(query))
            return ledger.get(job_id).state == "succeeded"

        until(over)
    assert len(ages) > 20
    assert max(ages) < 2
    assert leases(ledger, job_id) == [2]


def test_children_leave_when_their_supervisor_is_killed(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "job"
    with worker_command(ledger) as command:
        job_id = send(ledger, "wait_for_file", {"path": str(path)})
        child = pid_of(path)
        command.signal(signal.SIGKILL)
        command.wait()
        Path(f"{path}.go").touch()
        assert ended(ledger, job_id).state == "succeeded"
        until(lambda: not _alive(child), 20)
    assert kinds(ledger, job_id) == [Kind.ENQUEUED, Kind.LEASED, Kind.SUCCEEDED]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_t2_d06_one_signal_lets_running_jobs_finish(ledger: Ledger, tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "job"
    with worker_command(ledger, "--processes", "2") as command:
        job_id = send(ledger, "wait_for_file", {"path": str(path)})
        pid_of(path)
        until(lambda: len(workers(ledger)) == 2)
        command.signal(number)
        until(lambda: '"stopping"' in command.output)
        Path(f"{path}.go").touch()
        assert command.wait() == 0
    assert kinds(ledger, job_id) == [Kind.ENQUEUED, Kind.LEASED, Kind.SUCCEEDED]
    assert workers(ledger) == []


def test_t2_d06_past_the_grace_a_running_job_is_given_back(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "job"
    with worker_command(ledger, WORKER_SHUTDOWN_TIMEOUT="300ms") as command:
        job_id = send(ledger, "wait_for_file", {"path": str(path)})
        pid_of(path)
        told_at = datetime.now(UTC)
        command.signal(signal.SIGTERM)
        assert command.wait() == 0
    released = ledger.history(job_id)[-1]
    assert isinstance(released.event, Enqueued)
    assert (released.event.reason, ledger.get(job_id).crash_count) == ("shutdown", 0)
    assert released.at - told_at < timedelta(seconds=25)  # without the setting it is given 30


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_leaves_now_and_blames_no_job(
    ledger: Ledger, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    path = tmp_path / "job"
    with worker_command(ledger) as command:
        job_id = send(ledger, "wait_for_file", {"path": str(path)})
        pid_of(path)
        command.signal(number)
        until(lambda: '"stopping"' in command.output)
        command.signal(number)
        assert command.wait(15) == code
    assert ledger.get(job_id).crash_count == 0
    assert ledger.history(job_id)[-1].event.reason == "shutdown"
    assert workers(ledger) == []


def test_draining_runs_what_is_ready_and_leaves(ledger: Ledger) -> None:
    jobs = [send(ledger, "add", {"a": 1, "b": number}) for number in range(50)]
    with worker_command(ledger, "--drain", "--processes", "2") as command:
        assert command.wait() == 0
    assert [ledger.get(job_id).result for job_id in jobs] == [1 + number for number in range(50)]
    assert workers(ledger) == []


def test_an_application_that_is_not_there_is_a_usage_error(ledger: Ledger) -> None:
    with worker_command(ledger, app="tests.support.worker_app:nothing") as command:
        assert command.wait() == 2
        until(lambda: "did you mean tests.support.worker_app:ledger?" in command.output, 5)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
