"""What may be asked of a job: given a history, when a command, then these events, or a refusal."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest

from ledger import commands
from ledger.errors import CommandRefused
from ledger.events import (
    KINDS,
    Cancelled,
    DeadLettered,
    Discarded,
    Enqueued,
    Kind,
    Leased,
    Request,
    Retried,
    RetryPolicy,
    Scheduled,
    Succeeded,
)
from ledger.job import RESTING, STEPS, State, evolve
from tests.support.histories import ENQUEUED, FAILED, LEASED, NOON, REQUEST, entry, job

LATER = NOON + timedelta(hours=1)
SCHEDULED = Scheduled(run_at=LATER, request=REQUEST)
RETRIED = Retried(run_at=LATER, delay_seconds=10, retry_count=1)
DEAD = DeadLettered(reason="retries_exhausted", retry_count=3, crash_count=0)

GIVEN = {
    State.SCHEDULED: (SCHEDULED,),
    State.READY: (ENQUEUED,),
    State.RUNNING: (ENQUEUED, LEASED),
    State.RETRYING: (ENQUEUED, LEASED, FAILED, RETRIED),
    State.DEAD: (ENQUEUED, LEASED, FAILED, DEAD),
    State.SUCCEEDED: (ENQUEUED, LEASED, Succeeded(1.0)),
    State.CANCELLED: (ENQUEUED, Cancelled(cause="requested")),
    State.DISCARDED: (ENQUEUED, LEASED, FAILED, DEAD, Discarded()),
}

COMMANDS = {
    "lease": lambda job: commands.lease(job, "w1", "n"),
    "succeed": lambda job: commands.succeed(job, 1.0, None),
    "fail": lambda job: commands.fail(job, FAILED, NOON, Random(1)),
    "fail for good": lambda job: commands.fail(job, FAILED, NOON, Random(1), permanent=True),
    "snooze": lambda job: commands.snooze(job, LATER),
    "release": lambda job: commands.release(job, "shutdown"),
    "crash": lambda job: commands.crash(job, 3),
    "crash once too often": lambda job: commands.crash(job, 1),
    "make due": commands.make_due,
    "run now": commands.run_now,
    "cancel": commands.cancel,
    "expire": commands.expire,
    "retry": lambda job: commands.retry(job, NOON),
    "retry later": lambda job: commands.retry(job, NOON, timedelta(minutes=1)),
    "discard": commands.discard,
}

WAITING = {State.SCHEDULED, State.READY, State.RETRYING}
ALLOWED = {
    "lease": {State.READY},
    "succeed": {State.RUNNING},
    "fail": {State.RUNNING},
    "fail for good": {State.RUNNING},
    "snooze": {State.RUNNING},
    "release": {State.RUNNING},
    "crash": {State.RUNNING},
    "crash once too often": {State.RUNNING},
    "make due": {State.SCHEDULED, State.RETRYING},
    "run now": {State.SCHEDULED, State.RETRYING},
    "cancel": WAITING | {State.RUNNING},
    "expire": WAITING,
    "retry": {State.DEAD},
    "retry later": {State.DEAD},
    "discard": {State.DEAD},
}
REPEATABLE = {("cancel", State.CANCELLED), ("discard", State.DISCARDED)}


@pytest.mark.parametrize("state", RESTING)
def test_the_histories_below_lead_to_the_state_they_are_for(state):
    assert job(*GIVEN[state]).state is state


@pytest.mark.parametrize("state", RESTING)
@pytest.mark.parametrize("verb", COMMANDS)
def test_every_command_in_every_state(verb, state):
    given = job(*GIVEN[state])
    if state in ALLOWED[verb]:
        assert COMMANDS[verb](given)
    elif (verb, state) in REPEATABLE:
        assert COMMANDS[verb](given) == ()
    else:
        with pytest.raises(CommandRefused) as refusal:
            COMMANDS[verb](given)
        assert (refusal.value.job_id, refusal.value.state) == (given.id, state)
        assert refusal.value.version == given.version
        assert f"a job that is {state}" in str(refusal.value)


def steps_of(verb: str, state: State) -> list[tuple[Kind, State | None, State]]:
    """Return (kind, from, to) of each event that the command appends."""
    given = job(*GIVEN[state])
    steps = []
    for event in COMMANDS[verb](given):
        before = given.state
        given = evolve(given, entry(given.version + 1, event))
        steps.append((KINDS[type(event)], before, given.state))
    return steps


def test_the_commands_take_every_step_of_the_machine_and_no_other():
    taken = {step for verb, states in ALLOWED.items() for state in states for step in steps_of(verb, state)}
    taken |= {(Kind.SCHEDULED, None, State.SCHEDULED), (Kind.ENQUEUED, None, State.READY)}

    machine = {(kind, origin, target) for kind, (origins, target) in STEPS.items() for origin in origins}
    unused = {(Kind.DEAD_LETTERED, State.READY, State.DEAD)}
    assert taken == machine - unused


class TestSubmit:
    def test_a_job_without_a_time_is_ready(self):
        assert commands.submit(REQUEST, NOON) == (Enqueued(request=REQUEST),)

    def test_a_job_whose_time_is_to_come_is_scheduled(self):
        request = Request(type="t", scheduled_at=LATER)

        assert commands.submit(request, NOON) == (Scheduled(run_at=LATER, request=request),)

    @pytest.mark.parametrize("ago", [timedelta(), timedelta(days=3)])
    def test_a_job_whose_time_has_come_is_ready(self, ago):
        request = Request(type="t", scheduled_at=NOON - ago)

        assert commands.submit(request, NOON) == (Enqueued(request=request),)


class TestRuns:
    def test_every_lease_counts_as_an_attempt(self):
        released = job(ENQUEUED, LEASED, Enqueued(reason="shutdown"))

        assert commands.lease(released, "w2", "n2") == (Leased("w2", 2, "n2", released.ready_at),)

    def test_success_keeps_what_the_handler_returned(self):
        assert commands.succeed(job(*GIVEN[State.RUNNING]), 12.5, b"[1]") == (Succeeded(12.5, b"[1]"),)

    def test_a_snooze_says_why(self):
        running = job(*GIVEN[State.RUNNING])

        assert commands.snooze(running, LATER) == (Scheduled(run_at=LATER, reason="snooze"),)
        assert commands.snooze(running, LATER, "rate limit") == (Scheduled(run_at=LATER, reason="rate limit"),)

    def test_a_release_uses_no_retry_and_counts_no_crash(self):
        assert commands.release(job(*GIVEN[State.RUNNING]), "unknown_type") == (Enqueued(reason="unknown_type"),)


def failing(max_retries: int, retries_used: int, **policy: object):
    """A running job that has used so many of its retries, with no jitter."""
    request = Request(type="t", max_retries=max_retries, retry=RetryPolicy(**{"jitter": "none"} | policy))
    events = [Enqueued(request=request), LEASED]
    for used in range(1, retries_used + 1):
        events += [FAILED, Retried(run_at=NOON, delay_seconds=5, retry_count=used), Enqueued(reason="retry"), LEASED]
    return job(*events)


class TestFailure:
    @pytest.mark.parametrize(("used", "seconds"), [(0, 10), (1, 20), (2, 40)])
    def test_while_the_budget_lasts_a_retry_follows_by_the_policy(self, used, seconds):
        events = commands.fail(failing(3, used), FAILED, NOON, Random(1))

        run_at = NOON + timedelta(seconds=seconds)
        assert events == (FAILED, Retried(run_at=run_at, delay_seconds=seconds, retry_count=used + 1))

    @pytest.mark.parametrize("budget", [0, 1, 3])
    def test_n_retries_are_n_plus_one_runs(self, budget):
        events = commands.fail(failing(budget, budget), FAILED, NOON, Random(1))

        assert events == (FAILED, DeadLettered(reason="retries_exhausted", retry_count=budget, crash_count=0))

    def test_a_permanent_failure_leaves_the_budget_unused(self):
        events = commands.fail(failing(3, 1), FAILED, NOON, Random(1), permanent=True)

        assert events == (FAILED, DeadLettered(reason="permanent", retry_count=1, crash_count=0))

    def test_the_handlers_own_delay_is_kept_exactly_and_uses_one_retry(self):
        after = timedelta(hours=9)  # longer than the cap
        events = commands.fail(failing(3, 1), FAILED, NOON, Random(1), after=after)

        assert events == (FAILED, Retried(run_at=NOON + after, delay_seconds=32_400, retry_count=2))

    def test_the_handlers_own_delay_does_not_lengthen_the_budget(self):
        _, last = commands.fail(failing(1, 1), FAILED, NOON, Random(1), after=timedelta(0))

        assert isinstance(last, DeadLettered)

    def test_a_delay_of_nothing_is_due_at_once(self):
        _, retried = commands.fail(failing(1, 0), FAILED, NOON, Random(1), after=timedelta(0))

        assert retried == Retried(run_at=NOON, delay_seconds=0, retry_count=1)

    def test_decorrelated_jitter_goes_on_from_the_delay_on_record(self):
        running = failing(3, 1, jitter="decorrelated", base_seconds=1)
        _, retried = commands.fail(running, FAILED, NOON, Random(7))

        assert retried.delay_seconds == round(Random(7).uniform(1, 15), 6)

    def test_the_due_time_and_the_delay_on_record_agree(self):
        running = failing(3, 0, jitter="full")
        _, retried = commands.fail(running, FAILED, NOON, Random(3))

        assert retried.run_at == NOON + timedelta(seconds=retried.delay_seconds)


class TestCrash:
    def test_a_crash_is_counted_apart_and_the_job_is_ready_again(self):
        assert commands.crash(job(*GIVEN[State.RUNNING]), 3) == (Enqueued(reason="lease_expired", crash_count=1),)

    def test_the_nth_crash_is_poison(self):
        crashed = job(ENQUEUED, LEASED, Enqueued(reason="lease_expired", crash_count=2), LEASED)

        assert commands.crash(crashed, 3) == (DeadLettered(reason="poison", retry_count=0, crash_count=3),)

    def test_a_release_between_two_crashes_forgives_nothing(self):
        crashed = job(
            ENQUEUED,
            LEASED,
            Enqueued(reason="lease_expired", crash_count=1),
            LEASED,
            Enqueued(reason="shutdown"),
            LEASED,
        )

        assert commands.crash(crashed, 3) == (Enqueued(reason="lease_expired", crash_count=2),)


class TestWaiting:
    def test_a_scheduled_job_becomes_due(self):
        assert commands.make_due(job(*GIVEN[State.SCHEDULED])) == (Enqueued(reason="due"),)

    def test_a_retrying_job_becomes_due_for_its_retry(self):
        assert commands.make_due(job(*GIVEN[State.RETRYING])) == (Enqueued(reason="retry"),)

    def test_run_now_keeps_the_operators_words(self):
        assert commands.run_now(job(*GIVEN[State.RETRYING]), "fixed") == (Enqueued(reason="run_now", note="fixed"),)

    def test_an_expired_job_is_cancelled_with_the_cause(self):
        assert commands.expire(job(*GIVEN[State.READY])) == (Cancelled(cause="expired"),)

    def test_a_cancellation_says_who_wanted_it_and_why(self):
        assert commands.cancel(job(*GIVEN[State.READY]), "overlap", "newer") == (
            Cancelled(cause="overlap", reason="newer"),
        )


class TestOperator:
    def test_a_retry_gives_a_new_budget_and_makes_the_job_ready_in_the_same_append(self):
        retried, enqueued = commands.retry(job(*GIVEN[State.DEAD]), NOON, reason="bug fixed")

        assert retried == Retried(run_at=NOON, delay_seconds=0, retry_count=0, reason="bug fixed", requeue_count=1)
        assert enqueued == Enqueued(reason="retry")

    def test_a_retry_with_a_delay_waits(self):
        [retried] = commands.retry(job(*GIVEN[State.DEAD]), NOON, timedelta(minutes=5))

        assert (retried.run_at, retried.delay_seconds) == (NOON + timedelta(minutes=5), 300)

    def test_a_retried_job_starts_afresh_but_goes_on_counting_attempts(self):
        poisoned = DeadLettered(reason="poison", retry_count=2, crash_count=3)
        history = (ENQUEUED, LEASED, poisoned)
        again = job(*history, *commands.retry(job(*history), NOON))

        assert again.state is State.READY
        assert (again.retry_count, again.crash_count, again.requeue_count) == (0, 0, 1)
        assert (again.completed_at, again.death) == (None, None)
        assert commands.lease(again, "w", "n")[0].attempt == 2

    def test_a_job_that_dies_again_counts_its_requeues(self):
        dead = (ENQUEUED, LEASED, FAILED, DEAD)
        again = (*dead, *commands.retry(job(*dead), NOON), LEASED, FAILED, DEAD)

        assert commands.retry(job(*again), NOON)[0].requeue_count == 2

    def test_a_discard_says_why(self):
        assert commands.discard(job(*GIVEN[State.DEAD]), "spam") == (Discarded(reason="spam"),)
