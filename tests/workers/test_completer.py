"""Outcomes reach the log once, whatever the log does in between; refused ones are told and counted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from ledger_workers.board import Board
from ledger_workers.completer import Completer
from ledger_workers.leases import Leases, Run
from ledger_workers.metrics import Meters
from ledger_workers.slots import Slots
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from ledger import commands, ids
from ledger.errors import Unavailable
from ledger.events import Enqueued, Kind, Priority, Request
from ledger.job import fold
from ledger.log import Append, Blocked, Outcome
from ledger.memory import MemoryLog
from ledger.message import Message
from ledger.verdicts import failed, returned
from tests.support.histories import FrozenClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from ledger.commands import Events
    from ledger.job import JobState

WORKER = "w-1"


class Troubled(MemoryLog):
    """A log whose next appends go wrong, each in its way."""

    def __init__(self) -> None:
        super().__init__(FrozenClock())
        self.troubles: list[Callable[[Sequence[Append]], list[Outcome]]] = []
        self.calls: list[int] = []

    def append(self, appends: Sequence[Append]) -> list[Outcome]:
        self.calls.append(len(appends))
        trouble = self.troubles.pop(0) if self.troubles else super().append
        return trouble(appends)

    def lost_answer(self, appends: Sequence[Append]) -> list[Outcome]:
        super().append(appends)
        raise Unavailable("the answer was lost")

    def away(self, appends: Sequence[Append]) -> list[Outcome]:
        raise Unavailable("away")

    def held(self, *job_ids: UUID) -> Callable[[Sequence[Append]], list[Outcome]]:
        def trouble(appends: Sequence[Append]) -> list[Outcome]:
            free = iter(MemoryLog.append(self, [a for a in appends if a.job_id not in job_ids]))
            return [Blocked(a.job_id, a.after_version + 1) if a.job_id in job_ids else next(free) for a in appends]

        return trouble


class Bench:
    """A completer turned by hand, and runs to complete."""

    def __init__(self) -> None:
        self.log = Troubled()
        self.board = Board.create(100)
        self.slots = Slots(10)
        self.registry = CollectorRegistry()
        self.runs: dict[int, Run] = {}
        self.completer = Completer(
            self.log, WORKER, board=self.board, slots=self.slots, runs=self.runs, meters=Meters(self.registry)
        )

    def runs_of(self, count: int) -> list[Run]:
        messages = []
        for _ in range(count):
            job_id = ids.mint()
            opening = Enqueued(request=Request(type="t"))
            MemoryLog.append(
                self.log,
                [Append(job_id=job_id, events=(opening,), queue="q", priority=Priority.HIGH, actor="client:test")],
            )
            messages.append(Message(job_id, 1, 1, "t"))
        taken = Leases(self.log, self.board, WORKER).take(messages)
        self.slots.take(len(taken))
        for run in taken:
            self.runs[run.line] = run
        return taken

    def conclude(self, run: Run, verdict: Any = None) -> None:
        assert run.settle()
        run.part()
        self.completer.conclude(run, verdict or returned(run.state, {"ok": True}, 1.0))

    def turn(self) -> None:
        self.completer.run_once(0.01)

    def interfere(self, run: Run, events: Events) -> None:
        """Append as somebody else would who has seen the lease."""
        append = run.append(events, "other")
        (outcome,) = MemoryLog.append(self.log, [append])
        assert outcome.version > run.state.version

    def kinds(self, run: Run) -> list[Kind]:
        return [entry.kind for entry in self.log.history(run.state.id)]

    def job(self, run: Run) -> JobState:
        job = fold(self.log.history(run.state.id))
        assert job is not None
        return job

    @property
    def refused(self) -> float:
        return self.registry.get_sample_value("ledger_completions_refused_total", {"queue": "q"}) or 0.0

    @property
    def held(self) -> int:
        return len(list(self.board.notes()))


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.board.close()


def test_what_has_gathered_is_one_append(bench: Bench) -> None:
    runs = bench.runs_of(20)
    for run in runs:
        bench.conclude(run)
    assert bench.held == bench.slots.held == 20
    bench.turn()
    assert bench.log.calls == [20]
    assert bench.held == bench.slots.held == 0
    assert not bench.runs
    assert {bench.job(run).state for run in runs} == {"succeeded"}


def test_t6_d26_a_late_outcome_is_refused_told_and_counted(bench: Bench) -> None:
    late, timely = bench.runs_of(2)
    bench.interfere(late, commands.cancel(late.state))
    bench.conclude(late)
    bench.conclude(timely)
    with capture_logs() as lines:
        bench.turn()
    (line,) = [line for line in lines if line["event"] == "lease lost"]
    assert line["job_id"] == str(late.state.id)
    assert line["instead"] == "cancelled by worker:other"
    assert bench.refused == 1
    assert bench.kinds(late) == [Kind.ENQUEUED, Kind.LEASED, Kind.CANCELLED]
    assert bench.job(timely).state == "succeeded"
    assert bench.held == 0


def test_an_outcome_after_the_job_was_leased_again_is_refused(bench: Bench) -> None:
    (zombie,) = bench.runs_of(1)
    bench.interfere(zombie, commands.crash(zombie.state, 3))
    second = Leases(bench.log, bench.board, WORKER).take([Message(zombie.state.id, 3, 2, "t")])
    assert len(second) == 1
    bench.conclude(zombie)
    bench.turn()
    assert bench.refused == 1
    assert bench.job(zombie).state == "running"


def test_outcomes_wait_for_the_log(bench: Bench) -> None:
    runs = bench.runs_of(3)
    bench.log.troubles = [bench.log.away, bench.log.away]
    for run in runs:
        bench.conclude(run)
    bench.turn()
    assert bench.log.calls == [3, 3, 3]
    assert {bench.job(run).state for run in runs} == {"succeeded"}


def test_a_commit_whose_answer_was_lost_counts_once(bench: Bench) -> None:
    (run,) = bench.runs_of(1)
    bench.log.troubles = [bench.log.lost_answer]
    bench.conclude(run, failed(run.state, ValueError("x"), "", 1.0))
    bench.turn()
    assert bench.kinds(run) == [Kind.ENQUEUED, Kind.LEASED, Kind.FAILED, Kind.RETRIED]
    assert bench.refused == 0
    assert bench.held == 0


def test_a_held_job_does_not_hold_up_the_others(bench: Bench) -> None:
    held, free = bench.runs_of(2)
    bench.log.troubles = [bench.log.held(held.state.id)]
    bench.conclude(held)
    bench.conclude(free)
    bench.turn()
    assert (bench.job(held).state, bench.job(free).state) == ("running", "succeeded")
    assert bench.held == 1
    while bench.held:
        bench.turn()
    assert bench.job(held).state == "succeeded"


def test_an_outcome_the_log_cannot_keep_becomes_a_failure(bench: Bench) -> None:
    good, bad = bench.runs_of(2)

    def refuse(appends: Sequence[Append]) -> list[Outcome]:
        if any(a.job_id == bad.state.id for a in appends):
            raise ValueError("not to be written")
        return MemoryLog.append(bench.log, appends)

    bench.log.troubles = [refuse, refuse, refuse]
    bench.conclude(good)
    bench.conclude(bad)
    bench.turn()
    assert bench.job(good).state == "succeeded"
    assert bench.job(bad).state == "retrying"
    assert "cannot be kept" in bench.job(bad).failure.error_message
    assert bench.held == 0


def test_an_outcome_that_nothing_can_stand_for_stays_held(bench: Bench) -> None:
    (run,) = bench.runs_of(1)

    def refuse(_: Sequence[Append]) -> list[Outcome]:
        raise ValueError("no rights")

    bench.log.troubles = [refuse, refuse]
    bench.conclude(run)
    bench.turn()
    assert bench.job(run).state == "running"
    assert bench.held == 1, "forgotten, its lease would stay open as long as the worker lives"


def test_stopping_waits_for_a_held_job_without_spinning(bench: Bench) -> None:
    (run,) = bench.runs_of(1)
    bench.log.troubles = [bench.log.held(run.state.id)] * 1000
    bench.conclude(run)
    bench.completer.start()
    before = time.process_time()
    assert not bench.completer.stop(1.0)
    assert time.process_time() - before < 0.5


def test_stopping_records_what_is_there(bench: Bench) -> None:
    runs = bench.runs_of(5)
    for run in runs:
        bench.conclude(run)
    bench.completer.start()
    assert bench.completer.stop(10)
    assert {bench.job(run).state for run in runs} == {"succeeded"}


def test_stopping_gives_up_on_a_log_that_stays_away(bench: Bench) -> None:
    (run,) = bench.runs_of(1)
    bench.log.troubles = [bench.log.away] * 1000
    bench.conclude(run)
    bench.completer.start()
    assert not bench.completer.stop(0.3)
    assert bench.held == 1
