"""Places: so many jobs run at once, in the order they came, in threads and on the event loop."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from ledger_workers.executors.loop import LoopThread
from ledger_workers.executors.places import Places

from tests.support.working import until

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


def _run(name: int, *, on_loop: bool) -> Any:
    """What places know of a run: whether it is for the loop; the rest is what the loop sets while it waits."""
    return SimpleNamespace(name=name, on_loop=on_loop, job=SimpleNamespace(cancelled=False), stop=None, awaited=None)


def _name(run: Any) -> int:
    return run.name


@contextmanager
def _places(count: int, work: Callable[[Any, LoopThread], None]) -> Generator[Places]:
    with closing(LoopThread()) as loop:
        places = Places(count, lambda run: work(run, loop), loop, lambda run: run.on_loop)  # pyright: ignore[reportUnknownMemberType, reportUnknownLambdaType, reportUnknownArgumentType, reportAttributeAccessIssue]
        yield places
        places.stop()


def _mixed(count: int) -> list[Any]:
    # Two in a thread, two on the loop, and so on: a place goes on in its kind, and changes it both ways.
    return [_run(n, on_loop=n % 4 > 1) for n in range(count)]


@pytest.mark.parametrize("together", [True, False])
def test_jobs_of_both_kinds_run_in_the_order_they_came(together: bool) -> None:
    done: list[int] = []
    with _places(1, lambda run, _: done.append(run.name)) as places:
        runs = _mixed(40)
        for batch in [runs] if together else [[run] for run in runs]:
            places.submit(batch)
        until(lambda: len(done) == 40)
    assert done == list(range(40))


def test_no_more_run_at_once_than_there_are_places() -> None:
    lock, running, most, done = threading.Lock(), set[int](), [0], [0]

    def work(run: Any, loop: LoopThread) -> None:
        with lock:
            running.add(run.name)
            most[0] = max(most[0], len(running))
        if run.on_loop:
            loop.run(asyncio.sleep(0.002), run)
        else:
            threading.Event().wait(0.002)
        with lock:
            running.remove(run.name)
            done[0] += 1

    with _places(3, work) as places:
        for start in range(0, 60, 20):
            places.submit(_mixed(60)[start : start + 20])
        until(lambda: done[0] == 60)
    assert most[0] == 3


def test_an_exception_aimed_at_the_thread_takes_neither_the_job_nor_the_place() -> None:
    begun: list[int] = []

    def work(run: Any, _: LoopThread) -> None:
        begun.append(run.name)
        if begun == [0]:
            raise SystemExit

    with _places(1, work) as places:
        places.submit([_run(n, on_loop=False) for n in range(3)])
        until(lambda: len(begun) == 4)
    assert begun == [0, 0, 1, 2]


def test_jobs_whose_turn_has_not_come_can_be_taken_back() -> None:
    go, done = threading.Event(), list[int]()

    def work(run: Any, _: LoopThread) -> None:
        go.wait(30)
        done.append(run.name)

    with _places(2, work) as places:
        places.submit([_run(n, on_loop=False) for n in range(5)])
        assert [_name(run) for run in places.withdraw()] == [2, 3, 4]
        assert places.withdraw() == []
        go.set()
        until(lambda: len(done) == 2)
    assert sorted(done) == [0, 1]


def test_threads_are_started_when_they_are_needed() -> None:
    def handlers() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("handler ")]

    until(lambda: not handlers())  # those of the tests before
    done = list[int]()
    with _places(50, lambda run, _: done.append(run.name)) as places:
        places.submit([_run(n, on_loop=True) for n in range(20)])
        until(lambda: len(done) == 20)
        assert handlers() == []
        places.submit([_run(20, on_loop=False)])
        until(lambda: len(done) == 21)
        assert len(handlers()) == 1
