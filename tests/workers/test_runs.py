"""What becomes of a run: by what its handler returns, raises, or does to the thread it is in."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from ledger_workers.board import Board
from ledger_workers.executors.loop import LoopThread
from ledger_workers.executors.places import Places
from ledger_workers.executors.processes import Processes
from ledger_workers.leases import Leases, Run
from ledger_workers.runner import Runner
from ledger_workers.slots import Slots
from ledger_workers.watch import Watch

from ledger import Job, Permanent, Retry, Snooze
from ledger.events import Kind, Succeeded
from ledger.handlers import current_job
from ledger.message import Message
from tests.support.working import APP, ended, kinds, reached, send, until, working

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.verdicts import Verdict


def test_a_result_is_recorded(ledger: Ledger) -> None:
    @ledger.job("add")
    def add(a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}

    with working(ledger):
        job_id = send(ledger, "add", {"a": 1, "b": 2})
        job = ended(ledger, job_id)
    assert (job.state, job.result, job.attempt) == ("succeeded", {"sum": 3}, 1)
    assert kinds(ledger, job_id) == [Kind.ENQUEUED, Kind.LEASED, Kind.SUCCEEDED]
    assert {entry.actor for entry in ledger.history(job_id)[1:]} == {"worker:w-1"}


def test_a_failure_is_retried_with_its_traceback_on_record(ledger: Ledger) -> None:
    @ledger.job("boom")
    def boom() -> None:
        raise ValueError("not today")

    with working(ledger):
        job = reached(ledger, send(ledger, "boom"), "retrying")
    assert job.failure is not None
    assert (job.failure.error_type, job.failure.error_message) == ("ValueError", "not today")
    assert "in boom" in (job.failure.stack_trace or "")
    assert "ledger_workers" not in (job.failure.stack_trace or "")
    assert job.retry_count == 1


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), RecursionError("deep"), MemoryError(), GeneratorExit()]
)
def test_what_would_end_a_process_fails_one_job_only(ledger: Ledger, error: BaseException) -> None:
    @ledger.job("rude")
    def rude() -> None:
        raise error

    @ledger.job("polite")
    def polite() -> str:
        return "still here"

    with working(ledger):
        rude_job = ended(ledger, send(ledger, "rude", max_retries=0))
        assert ended(ledger, send(ledger, "polite")).result == "still here"
    assert rude_job.failure is not None
    assert rude_job.failure.error_type == type(error).__name__


def test_the_wishes_of_a_handler_are_honoured(ledger: Ledger) -> None:
    @ledger.job("later")
    def later() -> None:
        raise Retry("busy", after=timedelta(hours=2))

    @ledger.job("never")
    def never() -> None:
        raise Permanent("no use")

    @ledger.job("snooze")
    def snooze() -> Snooze:
        return Snooze(timedelta(hours=1))

    @ledger.job("unkeepable")
    def unkeepable() -> object:
        return object()

    with working(ledger):
        ids = {type_: send(ledger, type_) for type_ in ("later", "never", "snooze", "unkeepable")}
        retried = reached(ledger, ids["later"], "retrying")
        assert (retried.delay_seconds, retried.retry_count) == (7200, 1)
        assert reached(ledger, ids["never"], "dead").death.reason == "permanent"
        assert reached(ledger, ids["snooze"], "scheduled").retry_count == 0
        assert reached(ledger, ids["unkeepable"], "dead").failure.error_type == "Permanent"


def test_a_payload_that_does_not_fit_is_dead_at_once(ledger: Ledger) -> None:
    @ledger.job("add")
    def add(a: int) -> int:
        return a

    with working(ledger):
        assert ended(ledger, send(ledger, "add", {"a": "one"})).death.reason == "permanent"


def test_async_handlers_share_one_loop_and_the_slots(ledger: Ledger) -> None:
    meeting = threading.Barrier(2, timeout=30)
    threads = set()

    @ledger.job("meet")
    async def meet(x: int) -> int:
        threads.add(threading.get_ident())
        await asyncio.to_thread(meeting.wait)
        return x

    with working(ledger):
        first, second = send(ledger, "meet", {"x": 1}), send(ledger, "meet", {"x": 2})
        assert (ended(ledger, first).result, ended(ledger, second).result) == (1, 2)
    assert len(threads) == 1


@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError()])
def test_an_async_handler_cannot_stop_the_loop(ledger: Ledger, error: BaseException) -> None:
    @ledger.job("rude")
    async def rude() -> None:
        raise error

    @ledger.job("polite")
    async def polite() -> int:
        return 1

    with working(ledger):
        assert ended(ledger, send(ledger, "rude", max_retries=0)).failure.error_type == type(error).__name__
        assert ended(ledger, send(ledger, "polite")).result == 1


def test_a_thread_over_its_time_fails_at_once_and_keeps_its_slot(ledger: Ledger) -> None:
    stopped, let_go = threading.Event(), threading.Event()
    ran = []

    @ledger.job("stubborn")
    def stubborn(job: Job) -> None:
        job.wait(60)
        stopped.set()
        let_go.wait(60)

    @ledger.job("next")
    def next_() -> None:
        ran.append(1)

    with working(ledger, concurrency=1):
        job = ended(ledger, send(ledger, "stubborn", timeout=0.2, max_retries=0))
        assert job.failure.error_type == "JobTimeout"
        assert "stubborn" in job.failure.stack_trace
        assert stopped.wait(30)
        after = send(ledger, "next")
        assert not ran
        assert ledger.get(after).state == "ready"
        let_go.set()
        assert ended(ledger, after).state == "succeeded"


def test_a_run_that_begins_at_this_very_moment_is_not_over_its_time(ledger: Ledger) -> None:
    class Watched(Run):
        """Lets the watch look in the middle of everything."""

        __slots__ = ()

        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            watch.run_once()

    ledger.job("quick")(lambda: "well")
    with closing(Board.create(10)) as board:
        concluded: list[Verdict] = []

        def conclude(_: Run, verdict: Verdict) -> None:
            concluded.append(verdict)

        (run,) = Leases(ledger.log, board, "w-1").take([Message(ledger.enqueue("quick"), 1, 1, "quick")])
        slots, loop, processes = Slots(1), LoopThread(), Processes(APP)
        runner = Runner(
            ledger.handlers, [], loop=loop, processes=processes, board=board, slots=slots, max_crashes=3,
            blocking=False, conclude=conclude,
        )  # fmt: skip
        places = Places(0, runner.run, loop, runner.is_for_the_loop)
        watch = Watch({run.line: run}, places, slots, ledger.database, conclude)
        run.__class__ = Watched
        runner.run(run)
    (verdict,) = concluded
    assert [type(event) for event in verdict(ledger.now())] == [Succeeded]


def test_what_a_job_leaves_behind_is_freed_without_the_garbage_collector(ledger: Ledger) -> None:
    @ledger.job("quick")
    def quick(job: Job) -> None:
        job.log("heard")

    @ledger.job("quick_on_the_loop")
    async def on_the_loop() -> None: ...

    def held() -> int:
        return sum(type(each) is Run for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = held()
        with working(ledger):
            for type_ in ("quick", "quick_on_the_loop") * 5:
                assert ended(ledger, send(ledger, type_)).state == "succeeded"
            until(lambda: held() <= before + 1)  # one that a thread which waits has looked at last
    finally:
        gc.enable()


def test_an_async_handler_over_its_time_is_cancelled(ledger: Ledger) -> None:
    cancelled = threading.Event()

    @ledger.job("stubborn")
    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with working(ledger):
        job = ended(ledger, send(ledger, "stubborn", timeout=0.2, max_retries=0))
        assert job.failure.error_type == "JobTimeout"
        assert cancelled.wait(30)


def test_a_running_job_that_is_cancelled_is_told(ledger: Ledger) -> None:
    began, told = threading.Event(), threading.Event()

    @ledger.job("long")
    def long(job: Job) -> str:
        began.set()
        if job.wait(60):
            told.set()
        return "too late"

    with working(ledger):
        job_id = send(ledger, "long")
        assert began.wait(30)
        ledger.cancel(job_id)
        assert told.wait(30)
    assert kinds(ledger, job_id) == [Kind.ENQUEUED, Kind.LEASED, Kind.CANCELLED]


def test_what_a_handler_enqueues_names_its_cause(ledger: Ledger) -> None:
    @ledger.job("parent")
    def parent() -> str:
        return str(ledger.enqueue("child"))

    with working(ledger):
        parent_id = send(ledger, "parent", correlation_id="order-7")
        child_id = ended(ledger, parent_id).result
    (made,) = ledger.history(child_id)
    assert (made.actor, made.trace.correlation_id) == ("worker:w-1", "order-7")
    assert made.trace.causation_id == f"{parent_id}:2"


def test_middleware_is_composed_outermost_first_around_any_handler(ledger: Ledger) -> None:
    steps = []

    def layer(name):
        def middleware(job, call_next):
            steps.append(f"{name} before {job.type}")
            result = call_next(job)
            steps.append(f"{name} after")
            return result + 1

        return middleware

    @ledger.job("count")
    async def count() -> int:
        assert current_job.get() is not None
        return 1

    ledger.use(layer("outer"), layer("inner"))
    with working(ledger):
        assert ended(ledger, send(ledger, "count")).result == 3
    assert steps == ["outer before count", "inner before count", "inner after", "outer after"]


def test_concurrency_is_never_exceeded(ledger: Ledger) -> None:
    lock = threading.Lock()
    now, most = [0], [0]

    @ledger.job("busy")
    def busy(job: Job) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        job.wait(0.002)
        with lock:
            now[0] -= 1

    ids = [send(ledger, "busy") for _ in range(60)]
    with working(ledger):
        for job_id in ids:
            assert ended(ledger, job_id).state == "succeeded"
    assert 1 < most[0] <= ledger.settings.worker_concurrency
    until(lambda: now[0] == 0)
