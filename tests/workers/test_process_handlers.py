"""Handlers with a process of their own: what they return, raise and break stays theirs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support import worker_app
from tests.support.working import Pump, ended, reached, send, until, working

if TYPE_CHECKING:
    from pathlib import Path

    from ledger import Ledger


@pytest.fixture
def application(ledger: Ledger) -> Ledger:
    """The application that a handler's process loads, here on this test's servers."""
    for handler in worker_app.ledger.handlers.values():
        ledger.handlers.add(handler)
    return ledger


def test_it_runs_elsewhere_and_the_process_is_used_again(application: Ledger) -> None:
    with working(application, concurrency=1):
        first, second = (ended(application, send(application, "in_process")).result for _ in range(2))
    assert first["pid"] == second["pid"] != os.getpid()
    assert (first["worker_id"], first["attempt"]) == ("w-1", 1)


def test_an_error_comes_back_with_its_name_and_traceback(application: Ledger) -> None:
    with working(application):
        job = ended(application, send(application, "process_raises", max_retries=0))
    assert (job.failure.error_type, job.failure.error_message) == ("LookupError", "not there")
    assert "in process_raises" in job.failure.stack_trace


@pytest.mark.parametrize(
    ("mute", "message"), [(False, r"\ud800 and \x00"), (True, "(the error's own text cannot be had: LookupError)")]
)
def test_an_error_that_cannot_be_put_into_words_is_a_failure_not_a_crash(
    application: Ledger, mute: bool, message: str
) -> None:
    with working(application):
        job = ended(application, send(application, "process_raises_rubbish", {"mute": mute}, max_retries=0))
    assert (job.state, job.crash_count, job.failure.error_message) == ("dead", 0, message)


def test_over_its_time_it_is_killed(application: Ledger, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with working(application, concurrency=1):
        job_id = send(application, "process_hangs", {"path": str(note)}, timeout=2, max_retries=0)
        job = ended(application, job_id)
        assert job.failure.error_type == "JobTimeout"
        assert ended(application, send(application, "add", {"a": 1, "b": 1})).result == 2
    if note.exists():
        until(lambda: not _alive(int(note.read_text())), 10)


def test_its_death_is_a_crash_of_the_worker_not_a_failure_of_the_job(application: Ledger) -> None:
    with working(application):
        job_id = send(application, "process_dies")
        job = reached(application, job_id, "ready")
        until(lambda: application.get(job_id).crash_count == 1)
        (dead,) = Pump(application, job_id).until("dead")
    assert job.retry_count == 0
    assert (dead.death.reason, dead.crash_count, dead.attempt) == ("poison", 3, 3)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
