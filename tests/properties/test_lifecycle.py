"""Any command in any state, by writers who saw the present or the past: the log takes only what the machine allows."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from ledger import commands
from ledger.errors import CommandRefused
from ledger.events import KINDS, DeadLettered, Enqueued, Failed, Kind, Leased, Priority, Request, Retried, RetryPolicy
from ledger.ids import mint
from ledger.job import STEPS, JobState, State, evolve, fold, impossible, open_job
from ledger.log import Append, Conflict, Lease, Log, Recorded
from ledger.memory import MemoryLog
from ledger.postgres import PostgresLog
from ledger.runtime.database import Database
from tests.support.histories import NOON, FrozenClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from ledger.commands import Events
    from ledger.events import Entry

MAX_CRASHES = 3
FAILED = Failed("ValueError", "no")
OPEN = tuple(state for state in State if not state.is_end)

COMMANDS: dict[str, tuple[Callable[[JobState], Events], Kind, tuple[State, ...]]] = {
    "succeed": (lambda job: commands.succeed(job, 1.0, b"1"), Kind.SUCCEEDED, OPEN),
    "fail": (lambda job: commands.fail(job, FAILED, NOON, Random(1)), Kind.FAILED, OPEN),
    "fail for good": (lambda job: commands.fail(job, FAILED, NOON, Random(1), permanent=True), Kind.FAILED, OPEN),
    "snooze": (lambda job: commands.snooze(job, NOON), Kind.SCHEDULED, OPEN),
    "release": (lambda job: commands.release(job, "shutdown"), Kind.ENQUEUED, (State.RUNNING,)),
    "crash": (lambda job: commands.crash(job, MAX_CRASHES), Kind.ENQUEUED, (State.RUNNING,)),
    "make due": (commands.make_due, Kind.ENQUEUED, (State.SCHEDULED, State.RETRYING)),
    "run now": (commands.run_now, Kind.ENQUEUED, (State.SCHEDULED, State.RETRYING)),
    "cancel": (commands.cancel, Kind.CANCELLED, OPEN),
    "expire": (commands.expire, Kind.CANCELLED, (State.SCHEDULED, State.READY, State.RETRYING)),
    "retry": (lambda job: commands.retry(job, NOON), Kind.RETRIED, (State.DEAD,)),
    "retry later": (lambda job: commands.retry(job, NOON, timedelta(hours=1)), Kind.RETRIED, (State.DEAD,)),
    "discard": (commands.discard, Kind.DISCARDED, OPEN),
}
"""verb -> (the command, the kind it begins with, the states its meaning confines it to)."""

OUTCOMES = ("succeed", "fail", "fail for good", "snooze", "release")
"""What a worker says of its own run, under the nonce of its lease."""


class Lifecycle(RuleBasedStateMachine):
    """Jobs under every command, checked after each step against the machine and against a count of their own."""

    log: Log
    jobs = Bundle("jobs")
    reached: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.log = self.open_log()
        self.known: dict[UUID, tuple[Entry, ...]] = {}
        self.leases = 0

    def open_log(self) -> Log:
        return MemoryLog(FrozenClock())

    @precondition(lambda self: len(self.known) < 4)
    @rule(target=jobs, retries=st.integers(0, 2), hours=st.sampled_from([None, -1, 1]))
    def submit(self, retries: int, hours: int | None):
        job_id = mint()
        scheduled_at = None if hours is None else NOON + timedelta(hours=hours)
        request = Request(
            type="t", max_retries=retries, retry=RetryPolicy(base_seconds=1, max_seconds=2), scheduled_at=scheduled_at
        )
        events = commands.submit(request, NOON)
        append = Append(job_id=job_id, events=events, queue="q", priority=Priority.MEDIUM, actor="test")

        [outcome] = self.log.append([append])

        assert isinstance(outcome, Recorded)
        assert fold(self.log.history(job_id)).state is (State.SCHEDULED if hours == 1 else State.READY)
        self.known[job_id] = ()
        return job_id

    @rule(
        job_id=jobs, verb=st.sampled_from(sorted(COMMANDS)), age=st.sampled_from([0, 0, 0, 1, 2]), honest=st.booleans()
    )
    def command(self, job_id: UUID, verb: str, age: int, honest: bool):
        """Decide by what was true `age` events ago, and show the right nonce or another."""
        before = self.log.history(job_id)
        seen = before[: max(1, len(before) - age)]
        job = fold(seen)
        assert job is not None
        events = self.decide(verb, job)
        if not events:
            return
        nonce = self.nonce(verb, job, honest=honest)
        append = Append(
            job_id=job_id,
            events=events,
            queue=job.queue,
            priority=job.priority,
            actor="test",
            after_version=job.version,
            after_kind=seen[-1].kind,
            nonce=nonce,
        )

        [outcome] = self.log.append([append])

        self.reached[type(outcome).__name__] += 1
        if len(seen) == len(before) and nonce in (None, job.nonce):
            assert isinstance(outcome, Recorded)
            assert [entry.event for entry in self.log.history(job_id)[len(before) :]] == list(events)
        else:
            assert outcome == Conflict(job_id, job.version + 1)
            assert self.log.history(job_id) == before

    def decide(self, verb: str, job: JobState) -> Events:
        """Return the command's events; it must refuse exactly where the machine has no such step."""
        command, kind, confined = COMMANDS[verb]
        allowed = job.state in STEPS[kind][0] and job.state in confined
        try:
            events = command(job)
        except CommandRefused as refusal:
            self.reached["refused"] += 1
            if allowed or (refusal.state, refusal.version) != (job.state, job.version):
                raise AssertionError(f"{verb} was refused to a {job.state} job: {refusal}") from refusal
            return ()
        if not events:
            assert (verb, job.state) in (("cancel", State.CANCELLED), ("discard", State.DISCARDED))
            return ()
        assert allowed, f"{verb} was allowed to a {job.state} job"
        assert KINDS[type(events[0])] is kind or (verb == "crash" and isinstance(events[0], DeadLettered))
        return events

    @rule(
        job_id=jobs,
        verb=st.sampled_from([*OUTCOMES, "crash"]),
        then=st.sampled_from(["discard", "cancel", "retry"]),
    )
    def run(self, job_id: UUID, verb: str, then: str):
        """Drive a job through runs that end alike: at random alone, few would come to the end of a budget."""
        for _ in range(MAX_CRASHES):
            for step in ("make due", "retry"):
                self.command(job_id, step, age=0, honest=True)
            self.lease(job_id, off=0)
            self.command(job_id, verb, age=0, honest=True)
        self.command(job_id, then, age=0, honest=True)

    def nonce(self, verb: str, job: JobState, *, honest: bool) -> str | None:
        if verb not in OUTCOMES:
            return None
        return job.nonce if honest else f"not {job.nonce}"

    @rule(job_id=jobs, off=st.sampled_from([0, 0, 0, -1, 1]))
    def lease(self, job_id: UUID, off: int):
        before = self.log.history(job_id)
        job = fold(before)
        assert job is not None
        self.leases += 1

        won = self.log.lease([Lease(job_id, job.version + off, f"nonce {self.leases}")], f"w{self.leases % 3}")

        if job.state is State.READY and off == 0:
            assert won == [self.log.history(job_id)]
            assert commands.lease(job, f"w{self.leases % 3}", f"nonce {self.leases}") == (won[0][-1].event,)
        else:
            assert won == []
            assert self.log.history(job_id) == before

    @invariant()
    def every_history_is_one_the_rules_allow(self):
        histories = self.log.histories(self.known)
        for job_id, before in self.known.items():
            entries = histories[job_id]
            assert entries[: len(before)] == before, "the past has changed"
            if entries == before:
                continue
            check(entries)
            self.known[job_id] = entries
            self.reached.update(reached(entries[len(before) :]))


def reached(entries: tuple[Entry, ...]) -> list[str]:
    deaths = [entry.event.reason for entry in entries if isinstance(entry.event, DeadLettered)]
    return [*deaths, *(entry.kind for entry in entries)]


def check(entries: tuple[Entry, ...]) -> None:
    """Assert what holds of any job's history, whoever wrote it."""
    job: JobState | None = None
    for entry in entries:
        assert job is None or not job.state.is_end, f"{entry.kind} after the end"
        assert impossible(job, entry) is None, impossible(job, entry)
        job = open_job(entry) if job is None else evolve(job, entry)
    assert job is not None
    assert job.state is not State.FAILED, "a job rests in failed"
    leases = [entry.event for entry in entries if isinstance(entry.event, Leased)]
    assert [lease.attempt for lease in leases] == list(range(1, len(leases) + 1))
    assert job.attempt == len(leases)
    assert len({lease.nonce for lease in leases}) == len(leases)
    assert (job.nonce is not None) == (job.state is State.RUNNING)
    check_budget(entries, job)


def check_budget(entries: tuple[Entry, ...], job: JobState) -> None:
    """Count what was used since an operator last gave a new budget."""
    used: Counter[str] = Counter()
    for entry in entries:
        match entry.event:
            case Retried(requeue_count=int()):
                used.clear()
            case Retried():
                used["retries"] += 1
            case Failed():
                used["failures"] += 1
            case Enqueued(crash_count=int()):
                used["crashes"] += 1
            case DeadLettered(reason="poison"):
                assert used["crashes"] == MAX_CRASHES - 1
                used["crashes"] += 1
            case DeadLettered(reason="retries_exhausted"):
                assert used["failures"] == job.request.max_retries + 1
            case _:
                pass
    assert job.retry_count == used["retries"] <= job.request.max_retries
    assert used["failures"] <= job.request.max_retries + 1
    assert job.crash_count == used["crashes"] <= MAX_CRASHES
    assert used["crashes"] < MAX_CRASHES or job.state in (State.DEAD, State.DISCARDED)


QUICK = settings(max_examples=100, stateful_step_count=30)
SHORT = settings(QUICK, max_examples=15, phases=[Phase.generate])
SEEDED = settings(QUICK, database=None, print_blob=False, phases=[Phase.generate])


@pytest.fixture(autouse=True)
def nothing_reached(monkeypatch):
    monkeypatch.setattr(Lifecycle, "reached", Counter())


def test_t15_d27_every_step_outside_the_machine_is_refused_in_memory():
    run_state_machine_as_test(Lifecycle, settings=QUICK)

    deaths = {"retries_exhausted", "permanent", "poison"}
    assert {*Kind, *deaths, "refused", "Recorded", "Conflict"} == set(Lifecycle.reached)


def test_t15_d27_every_step_outside_the_machine_is_refused_in_postgres(database):
    pool = Database(database)

    class InPostgres(Lifecycle):
        def open_log(self) -> Log:
            return PostgresLog(pool)

    try:
        run_state_machine_as_test(InPostgres, settings=SHORT)
    finally:
        pool.close()
    assert {Kind.LEASED, Kind.DEAD_LETTERED, "refused", "Recorded", "Conflict"} <= set(Lifecycle.reached)


class Unfenced(MemoryLog):
    """A log that looks at the kind of the last event, but neither at its version nor at the nonce."""

    def _follows(self, append: Append) -> bool:
        history = self._histories.get(append.job_id, [])
        return not history or history[-1].kind is append.after_kind


def never_dead(job: JobState, failure: Failed, now: datetime, _random: Random, *, permanent: bool = False) -> Events:
    commands.succeed(job, 1.0, None)
    return (failure, Retried(run_at=now, delay_seconds=1, retry_count=job.retry_count + 1))


def never_poison(job: JobState, _max_crashes: int) -> Events:
    commands.succeed(job, 1.0, None)
    return (Enqueued(reason="lease_expired", crash_count=job.crash_count + 1),)


def half_a_failure(job: JobState, failure: Failed, *_: object, **__: object) -> Events:
    commands.succeed(job, 1.0, None)
    return (failure,)


def recounted(job: JobState, worker_id: str, nonce: str) -> Events:
    return (Leased(worker_id, 1, nonce),)


@pytest.mark.parametrize(
    ("place", "name", "bug"),
    [
        (Lifecycle, "open_log", lambda _: Unfenced(FrozenClock())),
        (commands, "_require", lambda *_, **__: None),
        (commands, "fail", never_dead),
        (commands, "fail", half_a_failure),
        (commands, "crash", never_poison),
        (commands, "lease", recounted),
    ],
    ids=["no fence", "no refusal", "one retry too many", "half a failure", "no poison", "attempts not counted"],
)
def test_the_machine_finds_seeded_bugs(place, name, bug, monkeypatch):
    monkeypatch.setattr(place, name, bug)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Lifecycle, settings=SEEDED)
