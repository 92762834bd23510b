"""The fold: total over any history, exact about what each event changes, and a judge of impossible ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.events import (
    Cancelled,
    DeadLettered,
    Enqueued,
    Kind,
    Leased,
    Priority,
    Retried,
    Scheduled,
    Succeeded,
    Trace,
)
from ledger.job import RESTING, STEPS, State, evolve, fold, impossible, open_job
from tests.support import strategies
from tests.support.histories import ENQUEUED, FAILED, JOB_ID, LEASED, NOON, REQUEST, entry, history, job

RETRIED = Retried(run_at=NOON, delay_seconds=10, retry_count=1)
DEAD = DeadLettered(reason="permanent", retry_count=0, crash_count=2)


def test_no_events_are_no_job():
    assert fold([]) is None


def test_a_first_event_opens_the_job_with_its_request():
    opened = job(ENQUEUED)

    assert (opened.id, opened.version, opened.state) == (JOB_ID, 1, State.READY)
    assert (opened.type, opened.payload, opened.max_retries) == ("email.send", {"to": "a@b.c"}, 3)
    assert (opened.queue, opened.priority, opened.metadata) == ("mail", Priority.HIGH, {})
    assert opened.created_at == opened.ready_at == opened.updated_at == NOON
    assert (opened.attempt, opened.result, opened.last_error) == (0, None, None)


def test_a_job_correlates_with_itself_unless_told_otherwise():
    assert job(ENQUEUED).correlation_id == str(JOB_ID)
    assert open_job(entry(1, ENQUEUED, trace=Trace("order-7"))).correlation_id == "order-7"


def test_a_scheduled_job_waits_for_its_time():
    waiting = job(Scheduled(run_at=NOON, request=REQUEST))

    assert (waiting.state, waiting.run_at, waiting.ready_at) == (State.SCHEDULED, NOON, None)


def test_a_lease_names_its_holder_until_the_run_ends():
    running = job(ENQUEUED, LEASED)
    ended = job(ENQUEUED, LEASED, Succeeded(1.0, b"[1]"))

    assert (running.worker_id, running.nonce, running.lease_version) == ("w1", "nonce-1", 2)
    assert running.started_at == running.updated_at > running.created_at
    assert (ended.worker_id, ended.nonce, ended.result) == (None, None, [1])
    assert ended.completed_at == ended.updated_at


@pytest.mark.parametrize(
    "event",
    [Enqueued(reason="shutdown"), Scheduled(run_at=NOON, reason="snooze"), FAILED, DEAD, Cancelled(cause="requested")],
)
def test_whatever_ends_a_run_takes_the_lease_away(event):
    after = job(ENQUEUED, LEASED, event)

    assert (after.worker_id, after.nonce, after.attempt) == (None, None, 1)


def test_a_failure_is_remembered_through_the_retry():
    retrying = job(ENQUEUED, LEASED, FAILED, RETRIED)

    assert (retrying.state, retrying.run_at, retrying.retry_count) == (State.RETRYING, NOON, 1)
    assert retrying.last_error == "ValueError: no such address"
    assert job(ENQUEUED, LEASED, FAILED, RETRIED, Enqueued(reason="retry")).run_at is None


def test_a_dead_job_says_why_until_it_is_retried():
    dead = job(ENQUEUED, LEASED, FAILED, DEAD)
    retried = job(ENQUEUED, LEASED, FAILED, DEAD, Retried(NOON, 0, 0, requeue_count=1))

    assert (dead.death, dead.crash_count, dead.completed_at) == (DEAD, 2, dead.updated_at)
    assert (retried.death, retried.crash_count, retried.completed_at) == (None, 0, None)
    assert (retried.requeue_count, retried.requeued_at) == (1, retried.updated_at)


@given(st.lists(strategies.events, min_size=1, max_size=12))
def test_the_fold_refuses_no_past(events):
    folded = job(*events)

    assert folded.version == len(events)
    assert folded.state in {target for _, target in STEPS.values()}


@given(st.lists(strategies.events, min_size=2, max_size=8), st.data())
def test_a_fold_may_stop_anywhere_and_go_on(events, data):
    entries = history(*events)
    middle = data.draw(st.integers(1, len(entries)))
    state = fold(entries[:middle])
    for following in entries[middle:]:
        state = evolve(state, following)

    assert state == fold(entries)


@given(strategies.later_events)
def test_the_state_follows_from_the_kind_alone(event):
    for origin in (job(ENQUEUED), job(ENQUEUED, LEASED), job(ENQUEUED, LEASED, FAILED, DEAD)):
        placed = entry(origin.version + 1, event)
        assert evolve(origin, placed).state is STEPS[placed.kind][1]


class TestImpossible:
    def test_a_possible_step_is_in_order(self):
        assert impossible(None, entry(1, ENQUEUED)) is None
        assert impossible(job(ENQUEUED), entry(2, LEASED)) is None

    def test_a_hole_in_the_versions(self):
        assert impossible(job(ENQUEUED), entry(3, LEASED)) == "version 3 follows 1"
        assert impossible(None, entry(2, ENQUEUED)) == "version 2 follows 0"

    def test_a_step_no_rule_allows(self):
        succeeded = job(ENQUEUED, LEASED, Succeeded(1.0))

        assert impossible(succeeded, entry(4, LEASED)) == "leased from succeeded"
        assert impossible(None, entry(1, LEASED)) == "leased from nothing"

    def test_a_second_lease_over_an_open_one(self):
        assert impossible(job(ENQUEUED, LEASED), entry(3, Leased("w2", 2, "n"))) == "leased from running"


def test_ends_are_the_states_no_step_leaves():
    left = {origin for origins, _ in STEPS.values() for origin in origins}

    assert [state for state in State if state.is_end] == [state for state in State if state not in left]


def test_every_kind_has_its_step_and_every_resting_state_is_reached():
    assert set(STEPS) == set(Kind)
    assert {target for _, target in STEPS.values()} == {*RESTING, State.FAILED}


def test_priorities_have_words():
    assert [priority.word for priority in Priority] == ["critical", "high", "medium", "low"]
    assert [Priority.from_word(priority.word) for priority in Priority] == list(Priority)
    with pytest.raises(KeyError):
        Priority.from_word("urgent")
