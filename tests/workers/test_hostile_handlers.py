"""T9: whatever a handler does, only its own job suffers, and concurrency is never exceeded."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support import worker_app
from tests.support.hostile import WAYS
from tests.support.working import Pump, dispatch, ended, send, until, worker_command, working

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.job import JobState

FAILURES = {
    "leave": "SystemExit",
    "interrupt": "KeyboardInterrupt",
    "recurse": "RecursionError",
    "eat_memory": "MemoryError",
    "be_huge": "Permanent",
    "be_a_circle": "Permanent",
    "object": "Permanent",
    "set_a_trap": "Trap",
}
HARMLESS = (
    "close_the_streams", "close_the_descriptors", "go_away", "take_the_signals", "lose_the_way", "fork_and_return",
    "flood",
)  # fmt: skip


@pytest.fixture
def application(ledger: Ledger) -> Ledger:
    for handler in worker_app.ledger.handlers.values():
        ledger.handlers.add(handler)
    return ledger


def tried(ledger: Ledger, type_: str, how: str) -> JobState:
    return ended(ledger, send(ledger, type_, {"how": how}, max_retries=0))


def test_t9_in_a_thread_every_way_to_fail_is_that_jobs_failure(application: Ledger) -> None:
    """T9: exceptions of every kind, results that cannot be kept, and errors that are traps, in threads."""
    with working(application, concurrency=2):
        for how, error_type in FAILURES.items():
            job = tried(application, "hostile", how)
            assert (job.state, job.crash_count, job.failure.error_type) == ("dead", 0, error_type), how
        assert ended(application, send(application, "add", {"a": 1, "b": 2})).result == 3


def test_t9_in_a_process_every_way_to_fail_is_that_jobs_failure(application: Ledger) -> None:
    """T9: the same in processes, where none of it ends the process either."""
    with working(application, concurrency=1):
        pid = ended(application, send(application, "process_surroundings")).result["pid"]
        for how, error_type in FAILURES.items():
            job = tried(application, "process_hostile", how)
            assert (job.state, job.crash_count, job.failure.error_type) == ("dead", 0, error_type), how
        assert ended(application, send(application, "process_surroundings")).result["pid"] == pid


def test_t9_what_a_handler_changes_in_its_process_is_put_back(application: Ledger) -> None:
    """T9: a closed stdout, another directory, signal handlers or a flood of output reach no later job."""
    with working(application, concurrency=1):
        before = ended(application, send(application, "process_surroundings")).result
        for how in HARMLESS:
            assert tried(application, "process_hostile", how).state == "succeeded", how
            assert ended(application, send(application, "process_surroundings")).result == before, how


def test_t9_a_worker_goes_on_whatever_its_threads_do_to_it(application: Ledger) -> None:
    """T9: in `ledger worker` itself nobody's output, log or process is lost by what one thread did."""
    with worker_command(application, "--concurrency", "2") as command:
        first = ended(application, send(application, "surroundings")).result
        for how in ("close_the_streams", "close_the_descriptors", "go_away", "flood"):
            assert tried(application, "hostile", how).state == "succeeded", how
        assert tried(application, "hostile", "take_the_signals").failure.error_type == "ValueError"
        assert ended(application, send(application, "surroundings")).result["pid"] == first["pid"]
        assert ended(application, send(application, "process_surroundings")).state == "succeeded"
        failed = tried(application, "hostile", "leave")
        until(lambda: f'"job_id":"{failed.id}"' in command.output)


def test_t9_a_thread_that_is_struck_is_no_slot_less(application: Ledger) -> None:
    """T9: exceptions aimed at the thread end at most the job they strike, and every slot stays."""
    meeting = threading.Barrier(2, timeout=30)

    @application.job("meets")
    def meets() -> None:
        meeting.wait()

    with working(application, concurrency=2):
        struck = [application.enqueue("hostile", {"how": "strike_the_thread"}, max_retries=0) for _ in range(20)]
        for job_id in struck:
            dispatch(application, job_id)
        assert {ended(application, job_id).state for job_id in struck} <= {"succeeded", "dead"}
        both = [send(application, "meets") for _ in range(2)]
        assert [ended(application, job_id).state for job_id in both] == ["succeeded"] * 2


def test_t9_a_process_that_dies_takes_no_other_job_along(application: Ledger) -> None:
    """T9: os._exit in a process is a crash of that job alone."""
    with working(application, concurrency=2):
        bad = send(application, "process_dies")
        good = [send(application, "in_process") for _ in range(5)]
        assert {ended(application, job_id).state for job_id in good} == {"succeeded"}
        (dead,) = Pump(application, bad).until("dead")
    assert dead.death.reason == "poison"


def test_t9_nothing_ends_the_loop_of_the_async_handlers(application: Ledger) -> None:
    """T9: a loop that is stopped, or that a task of a handler's own interrupts, goes on for all the others."""
    go = threading.Event()

    @application.job("async_neighbour")
    async def neighbour() -> str:
        while not go.is_set():  # noqa: ASYNC110 — set from another thread
            await asyncio.sleep(0.01)
        return "undisturbed"

    with working(application):
        beside = send(application, "async_neighbour")
        interrupted = ended(application, send(application, "async_interrupts", max_retries=0))
        assert (interrupted.state, interrupted.failure.error_type) == ("dead", "KeyboardInterrupt")
        assert ended(application, send(application, "async_stops_the_loop")).result == "stopped"
        go.set()
        assert ended(application, beside).result == "undisturbed"


def test_d21_concurrency_is_never_exceeded_by_handlers_over_their_time(application: Ledger) -> None:
    """T9: handlers that ignore their time-out keep their slots, so there are never more at once than allowed."""
    lock = threading.Lock()
    now, most, let_go = [0], [0], threading.Event()

    @application.job("stubborn")
    def stubborn() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        let_go.wait(60)
        with lock:
            now[0] -= 1

    with working(application, concurrency=3):
        ids = [send(application, "stubborn", timeout=0.2, max_retries=0) for _ in range(6)]
        until(lambda: sum(application.get(job_id).state == "dead" for job_id in ids) == 3)
        assert now[0] == 3
        let_go.set()
        for job_id in ids:
            ended(application, job_id)
    assert most[0] == 3


def test_every_way_is_tried() -> None:
    assert {*FAILURES, *HARMLESS, "strike_the_thread"} == set(WAYS)
