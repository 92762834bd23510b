"""What a test holds while a test mode is on: the jobs made meanwhile, the clock, and the means to run and to assert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ledger.handlers import Handler
from ledger.job import State
from ledger.running import current_job
from ledger.testing.matching import check, differences, line

if TYPE_CHECKING:
    from ledger.client import Ledger
    from ledger.job import JobState
    from ledger.memory import MemoryLog
    from ledger.testing.clock import FrozenClock
    from ledger.testing.runner import Runner

    Type = str | Handler[..., Any]

MOST_RUNS = 1000
"""After so many runs in one `drain` something goes round in circles."""

_SHOWN = 20
"""Jobs listed in the message of a failed assertion."""

active: list[Kit] = []
"""The kits of the test modes that are on, the innermost last."""


class Kit:
    """The jobs of one ledger within one test mode."""

    def __init__(self, ledger: Ledger, log: MemoryLog, clock: FrozenClock, runner: Runner) -> None:
        self.ledger = ledger
        self.clock = clock
        self.log = log
        """All events, in `entries()`."""
        self.runner = runner
        self.paused: set[str] = set()
        """The queues whose jobs `drain` leaves alone: add one to pause it."""

    @property
    def jobs(self) -> list[JobState]:
        """All jobs made within this mode, as they are now, in the order in which they were made."""
        return self.runner.jobs()

    def enqueued(self, type_: Type | None = None, /, **expected: Any) -> list[JobState]:
        """Return the jobs of this type that match, whatever has become of them since.

        `expected` names payload members and options, as `.enqueue` does, or the whole `payload`; what is not named does
        not matter.
        """
        check(expected)
        name = type_.type if isinstance(type_, Handler) else type_
        of_type = [job for job in self.jobs if name is None or job.type == name]
        return [job for job in of_type if not differences(job, expected)]

    def assert_enqueued(self, type_: Type, /, **expected: Any) -> JobState:
        """Return the last job that `enqueued` finds; raise AssertionError, with what there is instead, for none."""
        __tracebackhide__ = True
        if found := self.enqueued(type_, **expected):
            return found[-1]
        raise AssertionError(f"no such job was enqueued: {_wish(type_, expected)}\n{self._instead(type_, expected)}")

    def refute_enqueued(self, type_: Type, /, **expected: Any) -> None:
        """Raise AssertionError if `enqueued` finds any."""
        __tracebackhide__ = True
        if found := self.enqueued(type_, **expected):
            jobs = "\n".join(f"  {line(job)}" for job in found[:_SHOWN])
            raise AssertionError(f"enqueued {len(found)} times: {_wish(type_, expected)}\n{jobs}")

    def drain(
        self, *, queue: str | None = None, most: int = MOST_RUNS, fail_fast: bool = False, advance: bool = False
    ) -> list[JobState]:
        """Run what is ready, and what becomes ready by that, and return the job after each run, in order.

        Urgent jobs go first, then those that became ready first. With `advance` the clock is moved to the next due job
        whenever nothing is ready, so retries and schedules run to their end. With `fail_fast` a handler's error is
        raised once all have run; without, it is only on record. Raises AssertionError after `most` runs.
        """
        done: list[JobState] = []
        errors: list[BaseException] = []
        while (job := self._next(queue, advance=advance)) is not None:
            if len(done) == most:
                raise AssertionError(f"{most} runs, and more is ready ({line(job)}); is something going in circles?")
            if (result := self.runner.run(job)) is not None:
                done.append(result[0])
                errors += [result[1]] if result[1] is not None else []
        if fail_fast and errors:
            raise errors[0]
        return done

    def _next(self, queue: str | None, *, advance: bool) -> JobState | None:
        self.runner.pass_time()
        mine = [job for job in self.jobs if self._takes(job, queue)]
        if ready := [job for job in mine if job.state is State.READY and self._place(job) > self._since()]:
            return min(ready, key=lambda job: (job.priority, self._place(job)))
        due = [job.run_at for job in mine if job.run_at is not None]
        if not advance or not due:
            return None
        self.clock.move_to(min(due))
        return self._next(queue, advance=advance)

    def _takes(self, job: JobState, queue: str | None) -> bool:
        return queue in (None, job.queue) and job.queue not in self.paused and job.type in self.ledger.handlers

    def _place(self, job: JobState) -> int:
        return self.log.history(job.id)[-1].position

    def _since(self) -> int:
        """Return from where in the log jobs are run: inside a handler only those that it made itself."""
        if (job := current_job.get()) is None or not (history := self.log.history(job.id)):
            return 0
        return history[job.token.lease_version - 1].position

    def _instead(self, type_: Type, expected: dict[str, Any]) -> str:
        jobs = self.jobs
        if not jobs:
            return "nothing was enqueued"
        near = {job.id: differences(job, expected) for job in self.enqueued(type_)}
        lines = [line(job) + "".join(f"\n      {each}" for each in near.get(job.id, ())) for job in jobs[-_SHOWN:]]
        more = [f"… and {len(jobs) - _SHOWN} before these"] if len(jobs) > _SHOWN else []
        return "\n".join(["enqueued were:", *(f"  {each}" for each in lines + more)])


def enqueued(type_: Type | None = None, /, **expected: Any) -> list[JobState]:
    """Ask the kit of the test mode that is on: `Kit.enqueued`."""
    return _kit().enqueued(type_, **expected)


def assert_enqueued(type_: Type, /, **expected: Any) -> JobState:
    """Ask the kit of the test mode that is on: `Kit.assert_enqueued`."""
    __tracebackhide__ = True
    return _kit().assert_enqueued(type_, **expected)


def refute_enqueued(type_: Type, /, **expected: Any) -> None:
    """Ask the kit of the test mode that is on: `Kit.refute_enqueued`."""
    __tracebackhide__ = True
    _kit().refute_enqueued(type_, **expected)


def drain(
    *, queue: str | None = None, most: int = MOST_RUNS, fail_fast: bool = False, advance: bool = False
) -> list[JobState]:
    """Ask the kit of the test mode that is on: `Kit.drain`."""
    return _kit().drain(queue=queue, most=most, fail_fast=fail_fast, advance=advance)


def _kit() -> Kit:
    if not active:
        raise RuntimeError("no test mode is on; use `with testing.manual(ledger):` or the fixture `ledger_manual`")
    return active[-1]


def _wish(type_: Type, expected: dict[str, Any]) -> str:
    name = type_.type if isinstance(type_, Handler) else type_
    return " ".join([name, *(f"{member}={value!r}" for member, value in expected.items())])
