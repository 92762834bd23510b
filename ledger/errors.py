"""Every deliberate error of the system.

    LedgerError
    ├── InvalidRequest        a value that is not allowed, with each bad member named
    ├── MalformedJson         a text that is not JSON, or not one object
    ├── JobNotFound           no such job in the log
    ├── CommandRefused        the verb is not allowed in the job's present state
    ├── VersionConflict       another writer appended first
    │   └── JobExists         … the very first event: the id is taken
    ├── IdempotencyConflict   the same key came with another request
    ├── IdempotencyKeyInUse   another request with this key has not ended yet
    ├── ScheduleNotFound      no schedule has this id or name
    ├── ScheduleExists        a schedule of this name is there already
    ├── ScheduleChanged       the schedule is not at the version that was demanded
    ├── ScheduleInCode        its definition is the application's, and is changed there
    ├── ScheduleZoneUnknown   this machine does not know its time zone
    ├── LeaseLost             the outcome of a run whose lease is void
    ├── UnknownType           no handler is registered for the type
    ├── JobTimeout            a run went over its time limit
    ├── DeadlineExceeded      a run was still under way at its job's deadline
    ├── InvalidSettings       the environment holds nonsense, every variable named
    ├── CorruptHistory        a job's events contradict each other or the rules
    └── Unavailable           Postgres or Redis cannot be reached, or cannot be started

Data are attributes; messages are built from them and say what to do next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID


class LedgerError(Exception):
    """The root: catch it to catch everything Ledger raises on purpose."""


@dataclass(frozen=True, slots=True)
class Breach:
    """One member of a request that is not allowed."""

    pointer: str
    """JSON Pointer into the request, such as `/retry/base`."""
    detail: str
    too_large: bool = False
    """The payload is over its limit: HTTP answers 413 instead of 422."""


class InvalidRequest(LedgerError):
    """A request that breaks a rule; `breaches` names every bad member at once."""

    def __init__(self, breaches: Sequence[Breach]) -> None:
        self.breaches = tuple(breaches)
        super().__init__("; ".join(f"{b.pointer.lstrip('/') or 'request'}: {b.detail}" for b in breaches))


class MalformedJson(LedgerError):
    """A text that is not JSON, or not one object and nothing after it."""


class JobNotFound(LedgerError):
    def __init__(self, job_id: UUID | str) -> None:
        self.job_id = job_id
        super().__init__(f"job not found: {job_id}")


class CommandRefused(LedgerError):
    """The verb is not allowed from where the job stands."""

    def __init__(self, job_id: UUID, verb: str, state: str, version: int, allowed: str) -> None:
        self.job_id, self.verb, self.state, self.version = job_id, verb, state, version
        super().__init__(f"cannot {verb} a job that is {state}; {allowed}")


class VersionConflict(LedgerError):
    """Another writer appended at this version first: read the job again and decide anew."""

    def __init__(self, job_id: UUID, version: int) -> None:
        self.job_id, self.version = job_id, version
        super().__init__(f"job {job_id} already has another event at version {version}, or lost the one before it")


class JobExists(VersionConflict):
    """The chosen job id is taken."""

    def __init__(self, job_id: UUID) -> None:
        super().__init__(job_id, 1)
        self.args = (f"a job with id {job_id} exists already; choose another id or leave it out",)


class IdempotencyConflict(LedgerError):
    def __init__(self, key: str, job_id: UUID) -> None:
        self.key, self.job_id = key, job_id
        super().__init__(f"idempotency key {key!r} was used for a different request (job {job_id}); use a new key")


class IdempotencyKeyInUse(LedgerError):
    def __init__(self, *keys: str) -> None:
        self.keys = keys
        which = f"idempotency key {keys[0]!r}" if len(keys) == 1 else f"one of these {len(keys)} idempotency keys"
        super().__init__(f"another request with {which} has not ended; send this one again in a moment")


class ScheduleNotFound(LedgerError):
    def __init__(self, key: UUID | str) -> None:
        self.key = key
        super().__init__(f"schedule not found: {key}")


class ScheduleExists(LedgerError):
    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"a schedule named {name!r} exists already; choose another name")


class ScheduleChanged(LedgerError):
    """The schedule is not at the version that was demanded."""

    def __init__(self, name: str, wanted: int, version: int) -> None:
        self.name, self.wanted, self.version = name, wanted, version
        super().__init__(f"schedule {name!r} is at version {version}, not {wanted}; read it again and decide anew")


class ScheduleInCode(LedgerError):
    """A schedule that an application defines cannot be changed from outside: its next start would change it back."""

    def __init__(self, name: str, version: int) -> None:
        self.name, self.version = name, version
        super().__init__(f"schedule {name!r} is defined in code; change it there, or pause it")


class ScheduleZoneUnknown(LedgerError, ValueError):
    """The schedule was made where its time zone was known; here it is not, so nobody can say when it ticks."""

    def __init__(self, name: str, timezone: str, version: int) -> None:
        self.name, self.timezone, self.version = name, timezone, version
        super().__init__(
            f"the time zone {timezone!r} of schedule {name!r} is not known on this machine; "
            "give the schedule another one, or install newer time zone data"
        )


class LeaseLost(LedgerError):
    """The outcome came after the lease had been released, cancelled or given to another worker; it changed nothing."""

    def __init__(self, job_id: UUID, lease_version: int) -> None:
        self.job_id, self.lease_version = job_id, lease_version
        super().__init__(f"the lease {job_id}:{lease_version} is void; its outcome was refused")


class UnknownType(LedgerError):
    def __init__(self, type_: str, known: Sequence[str] = ()) -> None:
        self.type = type_
        hint = f"; registered are {', '.join(sorted(known))}" if known else ""
        super().__init__(f"no handler is registered for type {type_!r}{hint}")


class JobTimeout(LedgerError):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"ran longer than its timeout of {seconds:g} s")


class DeadlineExceeded(LedgerError):
    def __init__(self, deadline: datetime) -> None:
        self.deadline = deadline
        super().__init__(f"was still running at its deadline, {deadline.isoformat()}")


class InvalidSettings(LedgerError):
    """All that is wrong with the settings, in one message."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class CorruptHistory(LedgerError):
    """The log holds a step that no rule allows; the job is left alone and shown by `ledger verify`.

    `queue` and `priority` of an event that cannot be read are those of its row.
    """

    queue: str | None = None
    priority: int | None = None


class Unavailable(LedgerError):
    """A server cannot be reached. What was not acknowledged was not done, or at most once."""
