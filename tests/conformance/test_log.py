"""The log's contract, which both logs keep."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from uuid import UUID

import orjson
import pytest
from msgspec.structs import replace

from ledger.events import (
    Cancelled,
    DeadLettered,
    Enqueued,
    Failed,
    Kind,
    Leased,
    Priority,
    Request,
    Retried,
    Scheduled,
    Succeeded,
    Trace,
)
from ledger.ids import mint
from ledger.job import State, fold
from ledger.log import Append, Conflict, Lease, Recorded
from ledger.memory import MemoryLog
from ledger.postgres import PostgresLog
from ledger.runtime.clock import SystemClock
from ledger.runtime.database import Database
from tests.support.histories import ENQUEUED, FAILED, NOON, first, following

RETRIED = Retried(run_at=NOON, delay_seconds=10, retry_count=1)
DEAD = DeadLettered(reason="permanent", retry_count=0, crash_count=0)


@pytest.fixture(scope="module", params=["memory", "postgres"])
def log(request):
    if request.param == "memory":
        yield MemoryLog(SystemClock())
        return
    database = Database(request.getfixturevalue("module_database"), size=8)
    yield PostgresLog(database)
    database.close()


@pytest.fixture
def ready(log):
    """The id of a job that is ready at version 1."""
    job_id = mint()
    log.append([first(job_id)])
    return job_id


@pytest.fixture
def running(log, ready):
    """The id of a job that worker w1 runs under the nonce `mine`."""
    assert log.lease([Lease(ready, 1, "mine")], "w1")
    return ready


class TestAppend:
    def test_a_first_event_opens_a_job(self, log):
        job_id = mint()
        before = log.clock.now()

        [recorded] = log.append([first(job_id, queue="mail", priority=Priority.CRITICAL)])

        [entry] = log.history(job_id)
        assert recorded == Recorded(job_id, 1, entry.position, entry.at)
        assert (entry.job_id, entry.version, entry.kind) == (job_id, 1, Kind.ENQUEUED)
        assert (entry.queue, entry.priority, entry.actor) == ("mail", Priority.CRITICAL, "client:test")
        assert entry.event == ENQUEUED
        assert abs(entry.at - before) < timedelta(seconds=10)

    def test_a_following_event_stands_at_the_next_version(self, log, ready):
        [recorded] = log.append([following(log.history(ready), Cancelled(cause="requested", reason="why"))])

        entries = log.history(ready)
        assert [entry.version for entry in entries] == [1, 2]
        assert entries[-1].event == Cancelled(cause="requested", reason="why")
        assert (recorded.version, recorded.position) == (2, entries[-1].position)

    def test_several_events_go_in_together_and_the_last_one_is_answered(self, log, running):
        [recorded] = log.append([following(log.history(running), FAILED, RETRIED, nonce="mine")])

        entries = log.history(running)
        assert [entry.event for entry in entries[2:]] == [FAILED, RETRIED]
        assert recorded == Recorded(running, 4, entries[-1].position, entries[-1].at)

    def test_a_job_may_be_opened_by_several_events(self, log):
        job_id = mint()

        [recorded] = log.append([first(job_id, ENQUEUED, Cancelled(cause="overlap"))])

        assert [entry.kind for entry in log.history(job_id)] == [Kind.ENQUEUED, Kind.CANCELLED]
        assert recorded.version == 2

    def test_nothing_is_answered_to_nothing(self, log):
        assert log.append([]) == []

    def test_answers_come_in_the_order_of_the_appends(self, log):
        ids = [mint() for _ in range(20)]
        shuffled = ids[::2] + ids[1::2][::-1]
        log.append([first(ids[3]), first(ids[8])])

        outcomes = log.append([first(job_id) for job_id in shuffled])

        assert [outcome.job_id for outcome in outcomes] == shuffled
        lost = {outcome.job_id for outcome in outcomes if isinstance(outcome, Conflict)}
        assert lost == {ids[3], ids[8]}

    def test_a_trace_is_kept(self, log):
        job_id = mint()
        trace = Trace("order-7", f"{job_id}:1", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        append = first(job_id)

        log.append([Append(**{name: getattr(append, name) for name in append.__struct_fields__} | {"trace": trace})])

        [entry] = log.history(job_id)
        assert entry.trace == trace
        assert fold([entry]).correlation_id == "order-7"


class TestOpening:
    def test_a_new_job_is_there_and_durable_when_it_returns(self, log):
        append = replace(first(mint()), is_new=True)

        (recorded,) = log.append([append])

        (entry,) = log.history(append.job_id)
        assert (entry.event, entry.queue, entry.actor) == (ENQUEUED, append.queue, append.actor)
        assert recorded == Recorded(append.job_id, 1, entry.position, entry.at)

    def test_new_jobs_of_one_append_go_in_and_are_told_of_in_its_order(self, log):
        appends = [
            replace(first(job_id), is_new=True, actor=f"a{n}", trace=Trace(f"order-{n}"))
            for n, job_id in enumerate(reversed([mint() for _ in range(20)]))
        ]

        recorded = log.append(appends)

        for append, told in zip(appends, recorded, strict=True):
            (entry,) = log.history(append.job_id)
            assert (entry.event, entry.actor, entry.trace) == (ENQUEUED, append.actor, append.trace)
            assert told == Recorded(append.job_id, 1, entry.position, entry.at)
        positions = [each.position for each in recorded]
        assert positions == sorted(positions)


class TestConflicts:
    def test_a_taken_id_is_reported_and_changes_nothing(self, log, ready):
        before = log.history(ready)

        assert log.append([first(ready)]) == [Conflict(ready, 1)]
        assert log.history(ready) == before

    def test_the_second_of_two_writers_who_saw_the_same_is_refused(self, log, ready):
        seen = log.history(ready)
        log.append([following(seen, Cancelled(cause="requested"))])

        assert log.append([following(seen, Cancelled(cause="expired"))]) == [Conflict(ready, 2)]
        assert log.history(ready)[-1].event == Cancelled(cause="requested")

    def test_an_append_far_behind_is_refused(self, log, running):
        seen = log.history(running)
        log.append([following(seen, FAILED, RETRIED, nonce="mine")])

        assert log.append([following(seen[:1], Cancelled(cause="requested"))]) == [Conflict(running, 2)]

    def test_an_append_without_its_predecessor_is_refused(self, log, ready):
        skipping = Append(
            job_id=ready,
            events=(Succeeded(1.0),),
            queue="mail",
            priority=Priority.MEDIUM,
            actor="worker:w1",
            after_version=2,
            after_kind=Kind.LEASED,
        )

        assert log.append([skipping]) == [Conflict(ready, 3)]
        assert len(log.history(ready)) == 1

    def test_a_later_event_of_a_job_that_is_not_there_is_refused(self, log):
        ghost = mint()
        append = Append(
            job_id=ghost,
            events=(Cancelled(cause="requested"),),
            queue="mail",
            priority=Priority.MEDIUM,
            actor="test",
            after_version=1,
            after_kind=Kind.ENQUEUED,
        )

        assert log.append([append]) == [Conflict(ghost, 2)]
        assert log.history(ghost) == ()

    def test_a_predecessor_of_another_kind_is_refused(self, log, ready):
        append = following(log.history(ready), Succeeded(1.0))
        foreign = Append(
            **{name: getattr(append, name) for name in append.__struct_fields__} | {"after_kind": Kind.LEASED}
        )

        assert log.append([foreign]) == [Conflict(ready, 2)]

    @pytest.mark.parametrize("nonce", ["theirs", "", "Mine"])
    def test_an_outcome_under_another_nonce_is_refused(self, log, running, nonce):
        assert log.append([following(log.history(running), Succeeded(1.0), nonce=nonce)]) == [Conflict(running, 3)]
        assert fold(log.history(running)).state is State.RUNNING

    def test_an_outcome_under_the_leases_nonce_is_taken(self, log, running):
        [recorded] = log.append([following(log.history(running), Succeeded(1.0), nonce="mine")])

        assert recorded.version == 3

    def test_a_nonce_proves_nothing_after_an_event_that_is_no_lease(self, log, ready):
        assert log.append([following(log.history(ready), Succeeded(1.0), nonce="mine")]) == [Conflict(ready, 2)]

    def test_whoever_asks_for_no_nonce_may_end_a_running_job(self, log, running):
        [recorded] = log.append([following(log.history(running), Cancelled(cause="requested"))])

        assert recorded.version == 3

    def test_of_several_events_that_lose_none_is_written(self, log, running):
        seen = log.history(running)
        log.append([following(seen, Cancelled(cause="requested"))])

        assert log.append([following(seen, FAILED, DEAD, nonce="mine")]) == [Conflict(running, 3)]
        assert [entry.kind for entry in log.history(running)] == [Kind.ENQUEUED, Kind.LEASED, Kind.CANCELLED]

    def test_the_loss_of_one_job_harms_no_other(self, log, running):
        won, opened = mint(), mint()
        log.append([first(won)])

        lost, taken, new = log.append(
            [
                following(log.history(running), FAILED, DEAD, nonce="void"),
                following(log.history(won), Cancelled(cause="requested")),
                first(opened),
            ]
        )

        assert lost == Conflict(running, 3)
        assert (taken.version, new.version) == (2, 1)
        assert len(log.history(running)) == 2
        assert fold(log.history(won)).state is State.CANCELLED
        assert fold(log.history(opened)).state is State.READY

    def test_d26_of_many_writers_at_once_one_wins(self, log, ready):
        seen = log.history(ready)
        barrier = threading.Barrier(8)

        def write(writer: int):
            barrier.wait(timeout=30)
            return log.append([following(seen, Cancelled(cause="requested", reason=str(writer)))])[0]

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(write, range(8)))

        assert sum(isinstance(outcome, Recorded) for outcome in outcomes) == 1
        [winner] = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Recorded)]
        assert log.history(ready)[1].event.reason == str(winner)


@pytest.fixture(params=["alone", "in company"])
def lease(request, log):
    """Leases what is asked for as it is, or beside a job that nobody knows: one lease goes another way than several."""
    company = [] if request.param == "alone" else [Lease(mint(), 1, "nobody")]
    return lambda wishes, worker_id: log.lease([*wishes, *company], worker_id)


class TestLease:
    def test_a_ready_job_is_leased_and_its_whole_history_returned(self, log, lease, ready):
        [entries] = lease([Lease(ready, 1, "n\"'")], "w\u00e9\"'1")

        assert entries == log.history(ready)
        assert entries[0].event == ENQUEUED
        assert entries[-1].event == Leased("w\u00e9\"'1", 1, "n\"'", entries[-2].at)
        assert (entries[-1].actor, entries[-1].queue) == ("worker:w\u00e9\"'1", entries[0].queue)

    def test_the_second_lease_of_one_readiness_is_refused(self, log, lease, ready):
        lease([Lease(ready, 1, "a")], "w1")

        assert lease([Lease(ready, 1, "b")], "w2") == []
        assert len(log.history(ready)) == 2

    def test_of_many_workers_at_once_one_gets_the_job(self, log, lease, ready):
        barrier = threading.Barrier(8)

        def take(worker: int):
            barrier.wait(timeout=30)
            return lease([Lease(ready, 1, f"n{worker}")], f"w{worker}")

        with ThreadPoolExecutor(8) as pool:
            won = [history for histories in pool.map(take, range(8)) for history in histories]

        assert won == [log.history(ready)]

    @pytest.mark.parametrize("version", [0, 2, 3])
    def test_a_lease_at_another_version_is_refused(self, log, lease, ready, version):
        assert lease([Lease(ready, version, "n")], "w1") == []

    def test_a_job_that_waits_cannot_be_leased(self, log, lease):
        job_id = mint()
        log.append([first(job_id, Scheduled(run_at=NOON, request=ENQUEUED.request))])

        assert lease([Lease(job_id, 1, "n")], "w1") == []

    @pytest.mark.parametrize("version", [1, 3])
    def test_d58_a_job_past_its_expiry_is_never_leased(self, log, lease, version):
        """It waits for the scheduler to cancel it, and for a scheduler to run again if none does."""
        job_id, later = mint(), mint()
        now = log.clock.now()
        for job, expires_at in ((job_id, now - timedelta(seconds=1)), (later, now + timedelta(hours=1))):
            log.append([first(job, Enqueued(request=replace(ENQUEUED.request, expires_at=expires_at)))])
            if version == 3:
                log.append([following(log.history(job), Scheduled(run_at=NOON), Enqueued(reason="due"))])

        assert lease([Lease(job_id, version, "n")], "w1") == []
        [history] = lease([Lease(later, version, "n")], "w1")
        assert history == log.history(later)

    def test_a_running_job_cannot_be_leased_over_its_lease(self, log, running):
        assert log.lease([Lease(running, 2, "n")], "w2") == []

    def test_an_unknown_job_cannot_be_leased(self, log, lease):
        assert lease([Lease(mint(), 1, "n")], "w1") == []

    def test_attempts_count_leases(self, log, lease, running):
        log.append([following(log.history(running), Enqueued(reason="shutdown"), nonce="mine")])

        [entries] = lease([Lease(running, 3, "again")], "w2")

        assert [entry.event.attempt for entry in entries if entry.kind is Kind.LEASED] == [1, 2]
        assert fold(entries).attempt == 2

    def test_the_nonce_of_an_earlier_lease_is_void(self, log, running):
        log.append([following(log.history(running), Enqueued(reason="lease_expired", crash_count=1))])
        log.lease([Lease(running, 3, "second")], "w2")

        assert log.append([following(log.history(running), Succeeded(1.0), nonce="mine")]) == [Conflict(running, 5)]

    def test_what_cannot_be_leased_takes_nothing_from_the_others(self, log):
        ids = [mint() for _ in range(6)]
        log.append([first(job_id) for job_id in ids])
        log.lease([Lease(ids[1], 1, "other"), Lease(ids[4], 1, "other")], "w9")

        won = log.lease([Lease(job_id, 1, str(n)) for n, job_id in enumerate(ids)], "w1")

        assert {entries[0].job_id for entries in won} == {ids[n] for n in (0, 2, 3, 5)}
        assert {entries[-1].event.nonce for entries in won} == {"0", "2", "3", "5"}

    def test_nothing_is_leased_to_nobody(self, log):
        assert log.lease([], "w1") == []


class TestReading:
    def test_an_unknown_job_has_no_history(self, log):
        assert log.history(mint()) == ()

    def test_unknown_ids_are_absent_from_histories(self, log, ready, running):
        ghost = mint()

        assert log.histories([ready, ghost, running]) == {ready: log.history(ready), running: log.history(running)}

    def test_histories_of_nobody_are_none(self, log):
        assert log.histories([]) == {}

    def test_an_id_asked_for_twice_is_answered_once(self, log, running):
        assert log.histories([running, running]) == {running: log.history(running)}
        assert [entry.version for entry in log.histories([running, running])[running]] == [1, 2]

    def test_positions_rise_with_versions_and_are_never_given_twice(self, log):
        ids = [mint() for _ in range(8)]
        for reason in range(3):
            if reason == 0:
                log.append([first(job_id) for job_id in ids])
            else:
                seen = log.histories(ids)
                log.append([following(seen[job_id], Scheduled(run_at=NOON), Enqueued()) for job_id in ids[::-1]])

        histories = log.histories(ids)
        for entries in histories.values():
            assert [entry.version for entry in entries] == [1, 2, 3, 4, 5]
            assert all(a.position < b.position and a.at <= b.at for a, b in pairwise(entries))
        positions = [entry.position for entries in histories.values() for entry in entries]
        assert len(set(positions)) == len(positions)


PAYLOADS = {
    "whitespace": b'{ "a" :\t[ 1,2 ,  3 ],\n\n  "b":{}  }',
    "member order": b'{"b":1,"a":2}',
    "members twice": b'{"a":1,"a":2}',
    "large integers": b'{"n":123456789012345678901234567890,"m":-18446744073709551615}',
    "number spellings": b'{"a":1.0,"b":1e2,"c":1.50,"d":-0,"e":0.1000000000000000055511151231257827}',
    "escapes": rb'{"s":"\u00e9\/\ud83d\ude00\n\u0041"}',
    "unicode": '{"s":"žluťoučký kůň 🐎 \u2028"}'.encode(),
    "sql and formats": b'{"s":"\'; drop table ledger.events; -- %s %(x)s $1 {0} :name"}',
    "empty": b"{}",
    "a mebibyte": b'{"blob":"' + b"x" * (1 << 20) + b'"}',
    "deep": b'{"a":' + b"[" * 60 + b"]" * 60 + b"}",
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_a_payload_comes_back_byte_for_byte(log, payload):
    job_id = mint()
    log.append([first(job_id, Enqueued(request=Request(type="t", payload=payload)))])

    [entries] = log.lease([Lease(job_id, 1, "n")], "w1")

    assert log.history(job_id)[0].event.request.payload == payload
    assert entries[0].event.request.payload == payload


@pytest.mark.parametrize("result", [None, b'"\xc3\xa9"', b"[1, 2.50]", b"false", b'{"n": 12345678901234567890}'])
def test_a_result_comes_back_byte_for_byte(log, running, result):
    log.append([following(log.history(running), Succeeded(12.5, result), nonce="mine")])

    assert log.history(running)[-1].event.result == result


def test_the_words_of_a_failure_come_back(log, running):
    failed = Failed("app.Boom", "žluť \"quoted\" \\ \t\n 'single' %s", "Traceback …\n  File …", 1.25)
    log.append([following(log.history(running), failed, RETRIED, nonce="mine")])

    assert fold(log.history(running)).failure == failed


def test_t6_two_outcomes_of_one_job_in_one_append_are_judged_one_after_the_other(log, running):
    """T6: a worker whose lease was lost, and who has the job again, may bring both runs' outcomes together."""
    seen = log.history(running)
    stale = following(seen, FAILED, RETRIED, nonce="lost")
    good = following(seen, Succeeded(duration_ms=1), nonce="mine")

    outcomes = log.append([stale, good, first(mint()), good])

    assert [type(outcome) for outcome in outcomes] == [Conflict, Recorded, Recorded, Conflict]
    assert [entry.kind for entry in log.history(running)] == [Kind.ENQUEUED, Kind.LEASED, Kind.SUCCEEDED]


def test_many_jobs_in_one_append(log):
    ids = [mint() for _ in range(2_000)]

    outcomes = log.append(
        [
            first(job_id, Enqueued(request=Request(type="t", payload=orjson.dumps({"n": n}))))
            for n, job_id in enumerate(ids)
        ]
    )

    assert all(isinstance(outcome, Recorded) for outcome in outcomes)
    histories = log.histories(ids)
    assert [orjson.loads(histories[job_id][0].event.request.payload)["n"] for job_id in ids] == list(range(2_000))


def test_ids_are_uuids(log, ready):
    assert isinstance(log.history(ready)[0].job_id, UUID)
