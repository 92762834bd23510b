"""What handlers say is seen while they run and afterwards, is bounded, and never harms a job."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from ledger_workers.notes import Notes

from ledger import Job, JobNotFound
from ledger import notes as notes_
from tests.support import worker_app
from tests.support.working import dispatch, ended, send, until, working

if TYPE_CHECKING:
    from uuid import UUID

    from ledger import Ledger


def said(ledger: Ledger, job_id: UUID) -> list[tuple[Any, ...]]:
    return [(note.number, note.progress and round(note.progress, 3), note.message) for note in ledger.notes(job_id)]


def test_progress_is_seen_while_the_handler_runs(ledger: Ledger) -> None:
    go_on = threading.Event()

    @ledger.job("long")
    def long(job: Job) -> None:
        job.progress(0.4, "four of ten")
        go_on.wait(60)
        job.progress(1)

    with working(ledger):
        job_id = send(ledger, "long")
        until(lambda: said(ledger, job_id) == [(1, 0.4, "four of ten")])
        assert ledger.get(job_id).state == "running"
        go_on.set()
        ended(ledger, job_id)
        assert said(ledger, job_id) == [(1, 0.4, "four of ten"), (2, 1.0, None)]


def test_the_notes_of_a_run_are_there_when_its_outcome_is(ledger: Ledger) -> None:
    @ledger.job("short")
    def short(job: Job, n: int) -> None:
        job.log(f"number {n}")
        raise LookupError

    ids = [ledger.enqueue("short", {"n": n}, max_retries=0) for n in range(30)]
    with working(ledger):
        for job_id in ids:
            dispatch(ledger, job_id)
        for n, job_id in enumerate(ids):
            assert ended(ledger, job_id).state == "dead"
            assert said(ledger, job_id) == [(1, None, f"number {n}")]


def test_each_run_has_notes_of_its_own(ledger: Ledger) -> None:
    @ledger.job("twice")
    def twice(job: Job) -> None:
        job.log(f"run {job.attempt}")
        if job.attempt == 1:
            raise LookupError

    with working(ledger):
        job_id = send(ledger, "twice", retry={"base": 0.001, "jitter": "none"})
        until(lambda: ledger.get(job_id).state == "retrying")
        ledger.run_now(job_id)
        dispatch(ledger, job_id)
        ended(ledger, job_id)
    assert [(n.attempt, n.lease_version, n.number, n.message) for n in ledger.notes(job_id)] == [
        (1, 2, 1, "run 1"),
        (2, 6, 1, "run 2"),
    ]


def test_of_very_many_the_first_and_the_last_hundred_are_kept(ledger: Ledger) -> None:
    flushed = threading.Event()

    @ledger.job("chatty")
    def chatty(job: Job) -> None:
        for n in range(1, 151):
            job.log(str(n))
        flushed.wait(60)
        for n in range(151, 100_001):
            job.log(str(n))

    with working(ledger):
        job_id = send(ledger, "chatty")
        until(lambda: len(ledger.notes(job_id)) == 150)
        flushed.set()
        ended(ledger, job_id)
    assert [note.number for note in ledger.notes(job_id)] == [*range(1, 101), *range(99_901, 100_001)]
    assert all(note.message == str(note.number) for note in ledger.notes(job_id))


class Mute:
    def __str__(self) -> str:
        raise SystemExit(1)


def test_nothing_that_is_said_makes_a_job_fail(ledger: Ledger) -> None:
    @ledger.job("babbles")
    def babbles(job: Job) -> str:
        job.progress(7)
        job.progress(-1, "\0 and \ud800")
        job.progress(float("nan"), "x" * 2000)
        job.progress("half")  # pyright: ignore[reportArgumentType]
        job.log(Mute())  # pyright: ignore[reportArgumentType]
        return "well"

    with working(ledger):
        job_id = send(ledger, "babbles")
        assert ended(ledger, job_id).result == "well"
    first, second, third, fourth = said(ledger, job_id)
    assert first == (1, 1.0, None)
    assert second == (2, 0.0, r"\x00 and \ud800")
    assert third == (3, None, "x" * 999 + "…")
    assert fourth == (4, None, "(the error's own text cannot be had: SystemExit)")


def test_notes_that_cannot_be_written_do_not_keep_the_outcome(ledger: Ledger) -> None:
    @ledger.job("talks")
    def talks(job: Job) -> int:
        job.log("lost")
        return 1

    with working(ledger), ledger.database.connection() as connection:
        connection.execute("alter table ledger.notes rename to elsewhere")
        job_id = send(ledger, "talks")
        assert ended(ledger, job_id).result == 1
        connection.execute("alter table ledger.elsewhere rename to notes")
    assert said(ledger, job_id) == []


def test_writes_are_batched(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    write = notes_.write

    def counted(database: Any, notes: Any) -> None:
        batches.append(len(notes))
        write(database, notes)

    monkeypatch.setattr(notes_, "write", counted)
    all_here, go_on = threading.Barrier(11), threading.Event()

    @ledger.job("talks")
    def talks(job: Job) -> None:
        all_here.wait(60)
        for _ in range(50):
            job.log("still here")
        go_on.wait(60)

    with working(ledger):
        ids = [send(ledger, "talks") for _ in range(10)]
        all_here.wait(60)
        until(lambda: all(len(ledger.notes(job_id)) == 50 for job_id in ids))
        assert len(batches) <= 3
        go_on.set()
        for job_id in ids:
            ended(ledger, job_id)


def test_a_stopped_writer_lets_outcomes_pass(ledger: Ledger) -> None:
    concluded: list[Any] = []
    notes = Notes(ledger.database, lambda run, _: concluded.append(run))
    notes.start()
    notes.stop()

    class Talkative:
        notes = notes_.RunNotes(None)  # pyright: ignore[reportArgumentType]

    Talkative.notes.add(0.5, None)
    notes.conclude(Talkative, None)  # pyright: ignore[reportArgumentType]
    assert concluded == [Talkative]


def test_async_handlers_and_threads_of_a_handler_may_speak(ledger: Ledger) -> None:
    @ledger.job("speaks")
    async def speaks(job: Job) -> None:
        thread = threading.Thread(target=job.log, args=("from a thread",))
        thread.start()
        thread.join()
        job.progress(0.5, "from the loop")

    with working(ledger):
        job_id = send(ledger, "speaks")
        ended(ledger, job_id)
    assert said(ledger, job_id) == [(1, None, "from a thread"), (2, 0.5, "from the loop")]


def test_a_handler_in_a_process_may_speak(ledger: Ledger) -> None:
    for handler in worker_app.ledger.handlers.values():
        ledger.handlers.add(handler)
    with working(ledger):
        job_id = send(ledger, "process_speaks")
        assert ended(ledger, job_id).result == 3
    assert said(ledger, job_id) == [(1, 0.25, "a quarter"), (2, None, "a note"), (3, 1.0, None)]


def test_an_unknown_job_is_told_from_a_silent_one(ledger: Ledger) -> None:
    assert ledger.notes(ledger.enqueue("any")) == []
    with pytest.raises(JobNotFound):
        ledger.notes("019f7c3e-5a10-7000-8000-000000000000")
