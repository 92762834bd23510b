"""T9: what handlers fork and start: it answers for nobody, holds nothing open, and ends with its job's process."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import worker_app
from tests.support.working import Pump, ended, send, until, worker_command, working

if TYPE_CHECKING:
    from ledger import Ledger


@pytest.fixture
def application(ledger: Ledger) -> Ledger:
    """The application that a handler's process loads, here on this test's servers."""
    for handler in worker_app.ledger.handlers.values():
        ledger.handlers.add(handler)
    return ledger


def test_t9_a_handler_that_comes_back_twice_answers_once(application: Ledger) -> None:
    """T9: a fork that returns from its handler answers no later job in the name of this process."""
    with working(application, concurrency=1):
        for number in range(3):
            assert ended(application, send(application, "process_hostile", {"how": "fork_and_return"})).result
            job = ended(application, send(application, "process_returns", {"value": number}))
            assert job.result == number


@pytest.mark.parametrize("type_", ["hostile", "async_hostile"])
def test_t9_a_fork_that_comes_back_in_a_thread_runs_nothing(application: Ledger, type_: str) -> None:
    """T9: of a worker that a handler has forked there is one again before anything else is run."""
    with worker_command(application, "--concurrency", "1") as command:
        pid = ended(application, send(application, "who")).result
        for _ in range(3):
            assert ended(application, send(application, type_, {"how": "fork_and_return"})).result == "forked"
        assert ended(application, send(application, "who")).result == pid
        until(lambda: _children(pid) == set())
        assert command.process.poll() is None


def test_t9_what_a_handler_has_started_is_killed_with_it(application: Ledger, tmp_path: Path) -> None:
    """T9: over its time, a handler in a process ends with all it has started, and its slot is free."""
    with working(application, concurrency=1):
        path = tmp_path / "pids"
        job_id = send(application, "process_forks", {"path": str(path), "then": "hang"}, timeout=5, max_retries=0)
        assert ended(application, job_id).failure.error_type == "JobTimeout"
        assert ended(application, send(application, "add", {"a": 1, "b": 1})).result == 2
        family = [int(pid) for pid in path.read_text().split()]
        assert len(family) == 3
        until(lambda: not any(_lives(pid) for pid in family))


def test_t9_a_process_that_ends_is_missed_though_its_children_live(application: Ledger, tmp_path: Path) -> None:
    """T9: children that a dying process leaves behind do not keep its job open."""
    path = tmp_path / "pids"
    with working(application, concurrency=1):
        job_id = send(application, "process_forks", {"path": str(path), "then": "exit"}, timeout=600)
        (dead,) = Pump(application, job_id).until("dead")
        assert (dead.death.reason, dead.crash_count) == ("poison", 3)
        assert ended(application, send(application, "add", {"a": 1, "b": 1})).result == 2
        until(lambda: not any(_lives(int(pid)) for pid in path.read_text().split()))


def test_t1_a_handlers_process_ends_with_its_worker_whatever_it_does(application: Ledger, tmp_path: Path) -> None:
    """T1: kill -9 of a worker leaves no process behind that runs on, not even one that holds its interpreter."""
    path = tmp_path / "pid"
    with worker_command(application) as command:
        send(application, "process_holds_the_gil", {"path": str(path)})
        pid = int(until(lambda: path.exists() and path.read_text()))
        os.kill(_parent(pid), signal.SIGKILL)
        until(lambda: not _lives(pid))
        assert command.process.poll() is None


def test_a_result_comes_back_from_a_process_as_it_was(application: Ledger) -> None:
    with working(application):
        assert ended(application, send(application, "process_returns_a_huge_number")).result == 2**70


def test_what_a_leftover_thread_says_is_no_later_jobs_word(application: Ledger) -> None:
    with working(application, concurrency=1):
        ended(application, send(application, "process_leaves_a_thread"))
        job = ended(application, send(application, "process_dawdles"))
    assert [note.message for note in application.notes(job.id)] == ["mine"]


def test_what_a_process_takes_to_start_is_not_the_jobs_time(
    application: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time\ntime.sleep(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with working(application, concurrency=1):
        job = ended(application, send(application, "process_returns", {"value": 1}, timeout=2.5, max_retries=0))
    assert (job.state, job.result) == ("succeeded", 1)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _children(pid: int) -> set[int]:
    found = {int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()}
    return {each for each in found if _lives(each) and _parent(each) == pid}
