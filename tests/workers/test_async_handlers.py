"""`async def` handlers: one job after the other on the loop, each a task and a context of its own, never too many."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from ledger.handlers import current_job
from tests.support.working import ended, kinds, send, until, working

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ledger import Job, Ledger

remembered: ContextVar[str | None] = ContextVar("remembered", default=None)


def of_users_own(job: Job, call_next: Callable[[Job], Any]) -> Any:
    return call_next(job)


@pytest.fixture(params=["shipped middleware", "middleware of the user's own"], autouse=True)
def middleware(request: pytest.FixtureRequest, ledger: Ledger) -> None:
    """Both ways to the loop behave the same: by threads, where middleware may block, and without."""
    if request.param != "shipped middleware":
        ledger.use(of_users_own)


def test_d21_handlers_in_threads_and_on_the_loop_together_are_never_more_than_allowed(ledger: Ledger) -> None:
    running, most = set[str](), [0]
    lock = threading.Lock()

    def begin(job: Job) -> None:
        with lock:
            running.add(str(job.id))
            most[0] = max(most[0], len(running))

    @ledger.job("on_loop")
    async def on_loop(job: Job) -> None:
        begin(job)
        await asyncio.sleep(0.02)
        running.discard(str(job.id))

    @ledger.job("in_thread")
    def in_thread(job: Job) -> None:
        begin(job)
        job.wait(0.02)
        running.discard(str(job.id))

    with working(ledger, concurrency=3):
        jobs = [send(ledger, "on_loop" if number % 3 else "in_thread") for number in range(60)]
        assert {ended(ledger, job_id).state for job_id in jobs} == {"succeeded"}
    assert most == [3]


def test_each_job_is_a_task_with_a_context_of_its_own(ledger: Ledger) -> None:
    tasks, left_over, jobs_seen = set[int](), set[str | None](), set[str]()
    kept: list[object] = []

    @ledger.job("mark")
    async def mark(job: Job) -> None:
        task = asyncio.current_task()
        kept.append(task)  # so that no two have the same address
        tasks.add(id(task))
        left_over.add(remembered.get())
        remembered.set(str(job.id))
        await asyncio.sleep(0)
        here = current_job.get()
        assert here is job
        jobs_seen.add(str(here.id))

    with working(ledger, concurrency=2):
        jobs = [send(ledger, "mark") for _ in range(30)]
        assert {ended(ledger, job_id).state for job_id in jobs} == {"succeeded"}
    assert len(tasks) == len(jobs_seen) == 30
    assert left_over == {None}


def test_a_handlers_own_task_factory_makes_the_tasks_from_then_on(ledger: Ledger) -> None:
    made: list[Any] = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Any) -> asyncio.Task[Any]:
        made.append(coro)
        return asyncio.Task(coro, loop=loop)

    @ledger.job("set")
    async def set_factory() -> None:
        asyncio.get_running_loop().set_task_factory(factory)  # pyright: ignore[reportArgumentType] — it takes no context

    with working(ledger, concurrency=1):
        jobs = [send(ledger, "set") for _ in range(20)]
        assert {ended(ledger, job_id).state for job_id in jobs} == {"succeeded"}
    assert made


def test_a_cancelled_one_takes_no_other_along(ledger: Ledger) -> None:
    began, ran = threading.Event(), list[int]()

    @ledger.job("endless")
    async def endless() -> None:
        began.set()
        await asyncio.Event().wait()

    @ledger.job("short")
    async def short(number: int) -> int:
        await asyncio.sleep(0.001)
        ran.append(number)
        return number

    with working(ledger, concurrency=1):
        first = send(ledger, "endless")
        assert began.wait(30)
        others = [send(ledger, "short", {"number": number}) for number in range(20)]
        ledger.cancel(first, reason="enough")
        assert [ended(ledger, job_id).result for job_id in others] == list(range(20))
    assert ledger.get(first).state == "cancelled"
    assert ran == list(range(20))


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, ValueError])
def test_t9_what_one_raises_ends_that_one_only(ledger: Ledger, error: type[BaseException]) -> None:
    @ledger.job("raises")
    async def raises() -> None:
        await asyncio.sleep(0)
        raise error

    @ledger.job("fine")
    async def fine() -> str:
        await asyncio.sleep(0)
        return "fine"

    with working(ledger, concurrency=1):
        jobs = [send(ledger, type_, max_retries=0) for type_ in ("raises", "fine", "raises", "fine")]
        states = [ended(ledger, job_id) for job_id in jobs]
    assert [job.state for job in states] == ["dead", "succeeded", "dead", "succeeded"]
    assert states[0].failure is not None
    assert states[0].failure.error_type == error.__name__
    assert "raise error" in (states[0].failure.stack_trace or "")


def test_jobs_in_order_though_they_change_between_loop_and_thread(ledger: Ledger) -> None:
    order: list[int] = []

    @ledger.job("a")
    async def a(number: int) -> None:
        order.append(number)

    @ledger.job("b")
    def b(number: int) -> None:
        order.append(number)

    jobs = [send(ledger, "a" if number % 5 else "b", {"number": number}) for number in range(40)]
    with working(ledger, concurrency=1):
        until(lambda: all(kinds(ledger, job_id)[-1] == "succeeded" for job_id in jobs))
    assert order == list(range(40))


def test_over_its_time_it_is_told_where_it_stood(ledger: Ledger) -> None:
    async def stands_here() -> None:
        await asyncio.Event().wait()

    @ledger.job("endless")
    async def endless() -> None:
        await stands_here()

    with working(ledger):
        job = ended(ledger, send(ledger, "endless", timeout=0.2, max_retries=0))
    assert job.failure is not None
    assert job.failure.error_type == "JobTimeout"
    stack = job.failure.stack_trace or ""
    assert stack.index("in endless") < stack.index("in stands_here")
    assert "await asyncio.Event().wait()" in stack
