"""A request to change many jobs, checked: the same rules for HTTP, the command line and MCP.

As with a request to enqueue, all that is wrong is found before anything is refused.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledger import fields, ids, requests, shapes
from ledger.errors import Breach, InvalidRequest
from ledger.events import Priority
from ledger.job import State
from ledger.texts import is_keepable
from ledger_projections.filters import DeadLetterFilter, JobFilter
from ledger_projections.words import STATES, meanings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

MOST_IDS = 1000
LARGEST_BULK = 10_000
DEFAULT_BULK = 1000

_STATES = meanings(STATES)
_PRIORITIES = {level.word: level for level in Priority}


Words = Annotated[
    Annotated[str, Meta(min_length=1)] | Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)],
    Meta(
        description="One word, several with commas, or a list of words.",
        examples=["mail", ["mail", "default"]],
        extra={"must": "must be a word or a list of words, none of them empty"},
    ),
]
OperationId = Annotated[
    str,
    Meta(
        description="Becomes the correlation id of every event; made where it is left out.",
        extra_json_schema={"format": "uuid"},
        extra={"must": "must be a UUID"},
    ),
]


class JobsToChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which jobs: all members must match."""

    ids: Words | UnsetType = UNSET
    state: Words | UnsetType = UNSET
    type: Words | UnsetType = UNSET
    queue: Words | UnsetType = UNSET
    priority: Words | UnsetType = UNSET
    created_after: fields.Time | UnsetType = UNSET
    created_before: fields.Time | UnsetType = UNSET


class DeadLettersToChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters: all members must match."""

    ids: Words | UnsetType = UNSET
    type: Words | UnsetType = UNSET
    queue: Words | UnsetType = UNSET
    failed_after: fields.Time | UnsetType = UNSET
    failed_before: fields.Time | UnsetType = UNSET
    error_contains: (
        Annotated[str, Meta(min_length=1, max_length=1000, extra={"must": "must be a string of 1 to 1000 characters"})]
        | UnsetType
    ) = UNSET


class _ChangeMany(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    all: Annotated[bool, Meta(description="Needed where the filter is empty.")] = False
    dry_run: Annotated[bool, Meta(description="Change nothing, and say what would be.")] = False
    limit: Annotated[
        int,
        Meta(
            ge=1,
            le=LARGEST_BULK,
            description="The most that one request changes.",
            extra={"must": f"must be a whole number from 1 to {LARGEST_BULK}"},
        ),
    ] = DEFAULT_BULK
    reason: fields.Reason | UnsetType = UNSET
    operation_id: OperationId | UnsetType = UNSET


class ChangeJobs(_ChangeMany, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to change many jobs. An empty filter needs `all`."""

    filter: Annotated[JobsToChange, Meta(extra={"must": "must be an object"})] = JobsToChange()


class ChangeDeadLetters(_ChangeMany, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to change many dead letters. An empty filter needs `all`."""

    filter: Annotated[DeadLettersToChange, Meta(extra={"must": "must be an object"})] = DeadLettersToChange()


class Verb(StrEnum):
    """What is done to each of the jobs; discard and retry are for dead ones."""

    CANCEL = "cancel"
    RETRY = "retry"
    DISCARD = "discard"


class BulkAction(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done, to which jobs, how many of them, and why."""

    verb: Verb
    filters: JobFilter | DeadLetterFilter
    """The members besides `names`."""
    names: tuple[str, ...] = ()
    """Ids of jobs or dead letters, as they were given."""
    dry_run: bool = False
    limit: int = DEFAULT_BULK
    reason: str | None = None
    operation_id: UUID
    delay: timedelta | None = None
    """How long a retry is put off."""


def bulk_action(verb: Verb, members: Mapping[str, Any]) -> BulkAction:
    """Check the members of a BulkAction as JSON spells them; raise InvalidRequest with every breach."""
    asked, breaches = shapes.read(ChangeJobs if verb is Verb.CANCEL else ChangeDeadLetters, members)
    check = _Check(breaches)
    names = check.many("ids", asked.filter.ids, str, most=MOST_IDS)
    filters = _of_jobs(check, asked) if isinstance(asked, ChangeJobs) else _of_dead_letters(check, asked)
    if not (asked.all or names or breaches) and filters == type(filters)():
        check.breach("/filter", 'is empty; narrow it, or say "all": true')
    action = BulkAction(
        verb=verb,
        names=names,
        filters=filters,
        dry_run=asked.dry_run,
        limit=asked.limit,
        reason=_reason(check, asked.reason),
        operation_id=_operation_id(check, asked.operation_id) or ids.mint(),
    )
    if breaches:
        raise InvalidRequest(breaches)
    return action


class _Check:
    """Looks for what no type can say; what it returns after a breach is not used."""

    def __init__(self, breaches: list[Breach]) -> None:
        self._breaches = breaches

    def breach(self, pointer: str, detail: str) -> None:
        self._breaches.append(Breach(pointer, detail))

    def many(
        self, name: str, value: str | list[str] | UnsetType, understood: Callable[[str], T], most: int | None = None
    ) -> tuple[T, ...]:
        if value is UNSET:
            return ()
        words = [word.strip() for word in value.split(",")] if isinstance(value, str) else value
        if "" in words:
            self.breach(f"/filter/{name}", "must be a word or a list of words, none of them empty")
            return ()
        if most is not None and len(words) > most:
            self.breach(f"/filter/{name}", f"has {len(words)} {name}; at most {most} are allowed")
            return ()
        try:
            return tuple(dict.fromkeys(understood(word) for word in words))
        except ValueError as error:
            self.breach(f"/filter/{name}", str(error))
            return ()

    def time(self, name: str, value: str | UnsetType) -> datetime | None:
        if value is UNSET:
            return None
        try:
            return requests.instant(value)
        except ValueError as error:
            self.breach(f"/filter/{name}", str(error))
            return None


def _of_jobs(check: _Check, asked: ChangeJobs) -> JobFilter:
    given = asked.filter
    return JobFilter(
        states=check.many("state", given.state, _state),
        types=check.many("type", given.type, str),
        queues=check.many("queue", given.queue, str),
        priorities=check.many("priority", given.priority, _one_of(_PRIORITIES)),
        created_after=check.time("created_after", given.created_after),
        created_before=check.time("created_before", given.created_before),
    )


def _of_dead_letters(check: _Check, asked: ChangeDeadLetters) -> DeadLetterFilter:
    given = asked.filter
    return DeadLetterFilter(
        types=check.many("type", given.type, str),
        queues=check.many("queue", given.queue, str),
        failed_after=check.time("failed_after", given.failed_after),
        failed_before=check.time("failed_before", given.failed_before),
        error_contains=given.error_contains or None,
    )


def _state(word: str) -> str:
    if word == State.FAILED:
        raise ValueError("no job rests in failed; use retrying or dead")
    return _one_of(_STATES)(word)


def _one_of(words: Mapping[str, T]) -> Callable[[str], T]:
    def understood(word: str) -> T:
        if word not in words:
            raise ValueError(f"{word!r} is not one of {', '.join(words)}")
        return words[word]

    return understood


def _reason(check: _Check, reason: str | UnsetType) -> str | None:
    if reason is UNSET:
        return None
    if not is_keepable(reason):
        check.breach("/reason", "holds a character that cannot be kept (U+0000 or half a surrogate pair)")
    return reason


def _operation_id(check: _Check, text: str | UnsetType) -> UUID | None:
    found = None if text is UNSET else ids.parse(text)
    if text is not UNSET and found is None:
        check.breach("/operation_id", "must be a UUID")
    return found
