"""Paused queues: nothing new is leased, what runs goes on, and resuming needs nobody's help."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from ledger_workers.pauses import Pauses
from ledger_workers.ready import Ready
from ledger_workers.turns import ByWeight, InOrder

from ledger import pauses
from ledger.events import Kind
from ledger.log import Lease
from tests.support.lives import fold_all
from tests.support.working import dispatch, ended, kinds, ledger_on, reached, send, until, worker_command, working

if TYPE_CHECKING:
    from uuid import UUID

    from ledger import Ledger
    from ledger.runtime.database import Database
    from ledger.runtime.embedded import EmbeddedRedis

WHO = {"actor": "cli:test"}


def add_handler(ledger: Ledger) -> list[UUID]:
    """Return the list in which the jobs of type `note` stand that have run."""
    ran: list[UUID] = []

    @ledger.job("note")
    def note(job) -> None:
        ran.append(job.id)

    return ran


def test_d58_nothing_is_leased_from_a_paused_queue_until_it_is_resumed(ledger: Ledger) -> None:
    ran = add_handler(ledger)
    pauses.pause(ledger.database, "default", **WHO)
    with working(ledger, queues="default,mail"):
        held = [send(ledger, "note") for _ in range(20)]
        other = [send(ledger, "note", queue="mail") for _ in range(20)]
        for job_id in other:
            ended(ledger, job_id)
        assert not set(held) & set(ran)
        pauses.resume(ledger.database, "default", **WHO)
        for job_id in held:
            assert ended(ledger, job_id).state == "succeeded"
    assert [kinds(ledger, job_id) for job_id in held] == [[Kind.ENQUEUED, Kind.LEASED, Kind.SUCCEEDED]] * 20
    assert sorted(ran) == sorted(held + other)


def test_a_pause_holds_from_the_moment_it_is_made(ledger: Ledger) -> None:
    job_id = ledger.enqueue("note")
    pauses.pause(ledger.database, "default", **WHO)
    assert ledger.log.lease([Lease(job_id, 1, "nonce")], "w-1") == []
    pauses.resume(ledger.database, "default", **WHO)
    assert len(ledger.log.lease([Lease(job_id, 1, "nonce")], "w-1")) == 1


def test_a_queue_resumed_while_its_lease_is_refused_loses_no_job(ledger: Ledger, monkeypatch) -> None:
    """Between the refusal and the look for its cause the queue may have been resumed; nobody sends the job again."""
    ran = add_handler(ledger)
    paused = pauses.paused
    resumed = []

    def resumed_first(database: Database) -> frozenset[str]:
        resumed.append(pauses.resume(database, "default", **WHO))
        return paused(database)

    monkeypatch.setattr("ledger_workers.pauses.paused", resumed_first)
    pauses.pause(ledger.database, "default", **WHO)
    with working(ledger):
        job_id = send(ledger, "note")
        assert ended(ledger, job_id).state == "succeeded"
    assert resumed[0], "the lease was refused first"
    assert ran == [job_id]


def test_what_runs_goes_on(ledger: Ledger) -> None:
    began, go = threading.Event(), threading.Event()

    @ledger.job("long")
    def long() -> str:
        began.set()
        go.wait(60)
        return "done"

    with working(ledger):
        job_id = send(ledger, "long")
        assert began.wait(60)
        pauses.pause(ledger.database, "default", **WHO)
        go.set()
        assert ended(ledger, job_id).result == "done"


@pytest.mark.parametrize("queues", ["default", "default:3"])
def test_a_worker_with_nothing_but_paused_queues_rests(ledger: Ledger, queues: str, monkeypatch) -> None:
    ran = add_handler(ledger)
    looks = []
    paused = pauses.paused
    monkeypatch.setattr("ledger_workers.pauses.paused", lambda database: looks.append(1) or paused(database))
    pauses.pause(ledger.database, "default", **WHO)
    with working(ledger, queues=queues):
        job_id = send(ledger, "note")
        until(lambda: looks)
        began = time.monotonic()
        until(lambda: len(looks) >= 5)
        assert time.monotonic() - began > 1.5, "it looks twice a second, not more"
        assert ran == []
        pauses.resume(ledger.database, "default", **WHO)
        ended(ledger, job_id)


def test_pauses_outlive_the_workers_and_what_was_in_redis(database: str, private_redis: EmbeddedRedis) -> None:
    with ledger_on(database, private_redis.url) as ledger:
        ran = add_handler(ledger)
        pauses.pause(ledger.database, "default", **WHO)
        job_id = ledger.enqueue("note")
        marker = ledger.enqueue("note", queue="mail")
        fold_all(ledger.database)
        private_redis.stop()
        with working(ledger, queues="default,mail"):
            ended(ledger, marker)
        private_redis.start()
        with working(ledger, "w-2", queues="default,mail"):
            dispatch(ledger, job_id)
            ended(ledger, send(ledger, "note", queue="mail"))
            assert job_id not in ran
            pauses.resume(ledger.database, "default", **WHO)
            ended(ledger, job_id)


def test_the_read_model_is_not_asked_for_paused_queues(ledger: Ledger) -> None:
    job_id = ledger.enqueue("note")
    fold_all(ledger.database)
    ready = Ready(ledger.database, ["default"], ["note"])
    pauses.pause(ledger.database, "default", **WHO)
    assert ready.take(5) == []
    pauses.resume(ledger.database, "default", **WHO)
    assert [message.job_id for message in ready.take(5)] == [job_id]


def test_draining_does_not_wait_for_paused_queues(ledger: Ledger) -> None:
    pauses.pause(ledger.database, "default", **WHO)
    held = send(ledger, "add", {"a": 1, "b": 1})
    runs = send(ledger, "add", {"a": 1, "b": 2}, queue="mail")
    fold_all(ledger.database)
    with worker_command(ledger, "--drain", "--queues", "default,mail") as command:
        assert command.wait() == 0, command.output
    assert ledger.get(runs).result == 3
    assert kinds(ledger, held) == [Kind.ENQUEUED]
    assert "paused queues are not waited for" in command.output


def test_a_job_of_a_paused_queue_can_be_cancelled(ledger: Ledger) -> None:
    pauses.pause(ledger.database, "default", **WHO)
    add_handler(ledger)
    with working(ledger):
        job_id = send(ledger, "note")
        ledger.cancel(job_id)
        pauses.resume(ledger.database, "default", **WHO)
        assert ended(ledger, send(ledger, "note")).state == "succeeded"
    assert reached(ledger, job_id, "cancelled").attempt == 0


def test_weights_are_shared_among_the_queues_that_are_not_paused() -> None:
    turns = ByWeight({"a": 6, "b": 3, "c": 1})
    turns.paused = frozenset({"a"})
    assert dict(turns.first(8)) == {"b": 6, "c": 2}
    assert list(turns.rest()) == ["b", "c"]
    turns.paused = frozenset({"a", "b", "c"})
    assert list(turns.first(8)) == []
    turns.paused = frozenset()
    assert dict(turns.first(10)) == {"a": 6, "b": 3, "c": 1}


def test_in_order_paused_queues_are_passed_over() -> None:
    turns = InOrder(["a", "b", "c"])
    turns.paused = frozenset({"b"})
    assert list(turns.rest()) == ["a", "c"]


def test_only_this_workers_queues_count(ledger: Ledger) -> None:
    turns = InOrder(["a", "b"])
    found = Pauses(ledger.database, turns)
    for queue in ("a", "elsewhere"):
        pauses.pause(ledger.database, queue, **WHO)
    assert not found.leave_nothing
    found.look()
    assert (turns.paused, found.leave_nothing) == ({"a"}, False)
    pauses.pause(ledger.database, "b", **WHO)
    found.look()
    assert found.leave_nothing
