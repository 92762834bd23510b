"""Payload versions: old jobs run with the new handler, and too new ones wait for a worker that knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ledger.events import Enqueued, Kind
from tests.support.working import depth, dispatch, ended, kinds, ledger_on, reached, send, until, working

if TYPE_CHECKING:
    from ledger import Ledger


def register(ledger: Ledger, version: int) -> Any:
    @ledger.job("email.send", version=version)
    def send_email(recipient: str, subject: str) -> list[str]:
        return [recipient, subject]

    return send_email


def with_upcasts(ledger: Ledger) -> Any:
    handler = register(ledger, 3)

    @handler.upcast(from_version=1)
    def _(payload: dict[str, Any]) -> dict[str, Any]:
        return {"to": payload["to"], "subject": "(none)"}

    @handler.upcast(from_version=2)
    def _(payload: dict[str, Any]) -> dict[str, Any]:
        return {"recipient": payload["to"], "subject": payload["subject"]}

    return handler


def test_jobs_already_in_the_log_run_with_the_new_handler(ledger: Ledger) -> None:
    ids = [
        ledger.enqueue("email.send", {"to": "a"}),
        ledger.enqueue("email.send", {"to": "b", "subject": "hi"}, payload_version=2),
        with_upcasts(ledger).enqueue(recipient="c", subject="ho"),
    ]
    assert [ledger.get(job_id).request.payload_version for job_id in ids] == [1, 2, 3]
    for job_id in ids:
        dispatch(ledger, job_id)
    with working(ledger):
        assert [ended(ledger, job_id).result for job_id in ids] == [["a", "(none)"], ["b", "hi"], ["c", "ho"]]


def test_what_is_in_the_log_stays_as_it_was_sent(ledger: Ledger) -> None:
    with_upcasts(ledger)
    with working(ledger):
        job = ended(ledger, send(ledger, "email.send", {"to": "a"}))
    assert (job.payload, job.request.payload_version) == ({"to": "a"}, 1)


def test_a_version_without_an_upcast_is_dead_at_once_and_says_why(ledger: Ledger) -> None:
    register(ledger, 2)
    with working(ledger):
        job = ended(ledger, send(ledger, "email.send", {"to": "a"}))
    assert (job.state, job.death.reason) == ("dead", "permanent")
    assert job.failure.error_message == "email.send has no upcast from payload version 1 to 2"


def test_a_newer_version_is_put_back_once_and_then_left_for_a_worker_that_knows_it(
    ledger: Ledger, database: str, redis_url: str
) -> None:
    register(ledger, 1)
    with ledger_on(database, redis_url) as newer, working(ledger, "old"):
        register(newer, 2)
        job_id = send(ledger, "email.send", {"recipient": "a", "subject": "b"}, payload_version=2)
        until(lambda: kinds(ledger, job_id) == [Kind.ENQUEUED, Kind.LEASED, Kind.ENQUEUED])
        released = ledger.history(job_id)[-1].event
        assert isinstance(released, Enqueued)
        assert released.reason == "unknown_type"
        dispatch(ledger, job_id)
        # It knows the job now: the next ones, sent after it on the same stream, are done while that waits.
        assert ended(ledger, send(ledger, "email.send", {"recipient": "c", "subject": "d"})).state == "succeeded"
        assert reached(ledger, job_id, "ready").attempt == 1
        with working(newer, "new"):
            assert ended(ledger, job_id).result == ["a", "b"]
        assert ledger.get(job_id).attempt == 2
    until(lambda: depth(ledger) == 0)


@pytest.mark.parametrize(("version", "from_version"), [(2, 2), (2, 0), (1, 1)])
def test_an_upcast_from_no_older_version_is_refused(ledger: Ledger, version: int, from_version: int) -> None:
    handler = register(ledger, version)
    with pytest.raises(ValueError, match="no version"):
        handler.upcast(from_version=from_version)(dict)


def test_two_upcasts_from_one_version_are_refused(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="has its upcast already"):
        with_upcasts(ledger).upcast(from_version=1)(dict)


@pytest.mark.parametrize("version", [0, -1, True])
def test_a_version_is_a_number_from_1_up(ledger: Ledger, version: int) -> None:
    with pytest.raises(ValueError, match="from 1 up"):
        register(ledger, version)
