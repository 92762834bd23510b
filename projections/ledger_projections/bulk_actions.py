"""Bulk actions: all jobs that match are cancelled, retried or discarded, each by its own event, under one operation id.

A read model says which jobs match, the log decides: histories are read and events appended by the hundred, and who
loses a race is judged anew. A job that has moved on since the read model saw it, to where the verb does not apply, no
longer matches; one that was named is refused. What was done before counts as nothing, so that an action may be sent
again until nothing remains.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from ledger import commands, ids
from ledger.errors import CommandRefused, JobNotFound
from ledger.events import Enqueued, Trace
from ledger.job import State, fold
from ledger.log import Append, Blocked, Recorded, following, readable
from ledger_projections import deaths
from ledger_projections.bulk_requests import BulkAction, Verb
from ledger_projections.deaths import Death
from ledger_projections.filters import JobFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from ledger.client import Ledger
    from ledger.commands import Events
    from ledger.events import Entry
    from ledger.job import JobState
    from ledger_projections.queries import Narrowing, Queries

    Told = Callable[[Sequence[UUID]], None]

CHUNK = 250
"""Jobs a round trip. Histories hold payloads: so many of the largest allowed still fit into memory."""
SAMPLE = 10
BLOCKED_WAIT = 5.0
"""Seconds to wait for somebody's open transaction that is changing one of the jobs."""

_CANCELLABLE = (State.SCHEDULED, State.RETRYING, State.READY, State.RUNNING)


class Refusal(msgspec.Struct, frozen=True):
    """A job that was not changed, and why: as its own request would have been told."""

    id: str
    status: int
    code: str
    detail: str


class BulkResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was done. `matched` = `changed` + those refused + `remaining`, in a dry run too."""

    operation_id: UUID
    dry_run: bool
    matched: int
    changed: int
    remaining: int
    refused: list[Refusal]
    sample: list[UUID]
    """Some of the jobs that were changed, or would be."""


class _Target(msgspec.Struct, frozen=True):
    job_id: UUID
    name: str
    """As the request gave it."""
    death: Death | None = None
    """Which of its deaths is meant; None in what is no dead letter."""
    seen_at: int | None = None
    """The version at which a read model saw it match; None for a job that was named."""


def perform(
    ledger: Ledger, queries: Queries, action: BulkAction, *, actor: str, told: Told | None = None
) -> BulkResult:
    """Change what matches, `action.limit` jobs at most; `told` hears of the changed ones as they come.

    Every event is durable when it returns. May raise Unavailable with a part done: send it again.
    """
    work = _Work(ledger, action, actor, told or (lambda _: None))
    named = _named(action)
    if action.names and action.filters == type(action.filters)():
        work.take_named(list(named.values()))
    else:
        for filters in _selections(action, named):
            _take_matching(queries, filters, named, work)
    return work.result()


def _take_matching(queries: Queries, filters: Narrowing, named: dict[UUID, _Target], work: _Work) -> None:
    after = None
    while (wanted := min(CHUNK, work.room)) > 0:
        found = queries.matching(filters, wanted, after)
        work.take([_target(match.job_id, match.version, named) for match in found])
        if len(found) < wanted:
            return
        after = found[-1].place
    work.leave(queries.count(filters, after))


class _Work:
    """The state of one action under way."""

    def __init__(self, ledger: Ledger, action: BulkAction, actor: str, told: Told) -> None:
        self._ledger, self._action, self._actor, self._told = ledger, action, actor, told
        self._trace = Trace(correlation_id=str(action.operation_id))
        self._done = 0
        self._left = 0
        self._refused: list[Refusal] = []
        self._sample: list[UUID] = []
        self._deadline = 0.0

    @property
    def room(self) -> int:
        """How many jobs this call may still deal with."""
        return max(self._action.limit - self._done - len(self._refused), 0)

    def take_named(self, targets: Sequence[_Target]) -> None:
        """Change the jobs that were named; what cannot be an id is refused, as an unknown one is."""
        for name in self._action.names:
            if _parsed(name, self._action.verb) is None:
                self._refuse(name, 404, "not_found", self._not_found)
        for start in range(0, len(targets), CHUNK):
            self.take(targets[start : start + CHUNK])

    def take(self, targets: Sequence[_Target]) -> None:
        """Change these jobs, as many as there is room for."""
        self._deadline = time.monotonic() + BLOCKED_WAIT
        while targets:
            wishes = list(self._judged(targets))
            wishes, over = wishes[: self.room], wishes[self.room :]
            self.leave(len(over))
            if self._action.dry_run:
                self._count([target.job_id for target, _ in wishes])
                return
            targets = self._append(wishes)

    def leave(self, count: int) -> None:
        """Note jobs that match and are not dealt with."""
        self._left += count

    def result(self) -> BulkResult:
        dry_run = self._action.dry_run
        return BulkResult(
            operation_id=self._action.operation_id,
            dry_run=dry_run,
            matched=self._done + len(self._refused) + self._left,
            changed=0 if dry_run else self._done,
            remaining=self._left + (self._done if dry_run else 0),
            refused=self._refused,
            sample=self._sample,
        )

    @property
    def _not_found(self) -> str:
        return "job not found" if self._action.verb is Verb.CANCEL else "job not found in DLQ"

    def _judged(self, targets: Sequence[_Target]) -> Iterator[tuple[_Target, Append]]:
        """Ask the rules about each; yield what is to be appended, note what is refused."""
        histories, corrupt = readable(self._ledger.log, [target.job_id for target in targets])
        now = self._ledger.now()
        for target in targets:
            if (error := corrupt.get(target.job_id)) is not None:
                self._refuse(target.name, 500, "internal_error", str(error))
                continue
            try:
                wish = self._wish(target, histories.get(target.job_id, ()), now)
            except JobNotFound:
                self._refuse(target.name, 404, "not_found", self._not_found)
            except CommandRefused as refusal:
                if target.seen_at is None or refusal.version <= target.seen_at:
                    self._refuse(target.name, 409, "state_conflict", str(refusal))
            else:
                if wish is not None:
                    yield target, wish

    def _wish(self, target: _Target, history: tuple[Entry, ...], now: datetime) -> Append | None:
        """Return what changes the job, None where that was done before; raise what refuses it."""
        job = fold(history)
        if job is None:
            raise JobNotFound(target.job_id)
        if target.death is not None:
            if not deaths.happened(target.death, history):
                raise JobNotFound(target.job_id)
            deaths.check_last(target.death, job, self._action.verb)
        events = self._events(job, now)
        return msgspec.structs.replace(following(job, events, self._actor), trace=self._trace) if events else None

    def _events(self, job: JobState, now: datetime) -> Events:
        action = self._action
        match action.verb:
            case Verb.CANCEL:
                return commands.cancel(job, reason=action.reason)
            case Verb.RETRY:
                return commands.retry(job, now, action.delay, action.reason)
            case Verb.DISCARD:
                return commands.discard(job, action.reason)

    def _append(self, wishes: list[tuple[_Target, Append]]) -> list[_Target]:
        """Append, and return the jobs to judge anew."""
        outcomes = self._ledger.log.append([append for _, append in wishes])
        recorded: list[UUID] = []
        again: list[_Target] = []
        for (target, _), outcome in zip(wishes, outcomes, strict=True):
            if isinstance(outcome, Recorded):
                recorded.append(target.job_id)
            elif isinstance(outcome, Blocked) and time.monotonic() > self._deadline:
                detail = "the job is being changed by a transaction that stays open; try again later"
                self._refuse(target.name, 503, "unavailable", detail)
            else:
                again.append(target)
        if recorded and isinstance(wishes[0][1].events[-1], Enqueued):
            self._ledger.waker.wake()
        self._count(recorded)
        return again

    def _count(self, job_ids: Sequence[UUID]) -> None:
        self._done += len(job_ids)
        self._sample += job_ids[: SAMPLE - len(self._sample)]
        if job_ids and not self._action.dry_run:
            self._told(job_ids)

    def _refuse(self, name: str, status: int, code: str, detail: str) -> None:
        self._refused.append(Refusal(name, status, code, detail))


def _selections(action: BulkAction, named: dict[UUID, _Target]) -> Iterable[Narrowing]:
    """Return filters that together name what the action may change; each state apart, as the indexes have them."""
    filters = msgspec.structs.replace(action.filters, ids=tuple(named))
    if action.names and not named:
        return ()
    if not isinstance(filters, JobFilter):
        return (filters,)
    states = [state for state in filters.states or _CANCELLABLE if state != State.CANCELLED]
    return [msgspec.structs.replace(filters, states=(state,)) for state in states]


def _named(action: BulkAction) -> dict[UUID, _Target]:
    """Return the jobs that were named, each once."""
    parsed = (_parsed(name, action.verb) for name in action.names)
    return {target.job_id: target for target in parsed if target is not None}


def _parsed(name: str, verb: Verb) -> _Target | None:
    """Return what an id names."""
    if verb is Verb.CANCEL:
        job_id = ids.parse(name)
        return None if job_id is None else _Target(job_id, name)
    death = deaths.named(name)
    return None if death is None else _Target(death.job_id, name, death)


def _target(job_id: UUID, version: int, named: dict[UUID, _Target]) -> _Target:
    return named.get(job_id) or _Target(job_id, str(job_id), seen_at=version)
