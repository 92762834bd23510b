"""A request to change many jobs, checked: the same rules for HTTP, the command line and MCP.

As with a request to enqueue, all that is wrong is found before anything is refused.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import msgspec

from ledger import ids, requests, strict_json
from ledger.errors import Breach, InvalidRequest
from ledger.events import Priority
from ledger.job import RESTING, State
from ledger.texts import is_keepable
from ledger_projections.filters import DeadLetterFilter, JobFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

MOST_IDS = 1000
LARGEST_BULK = 10_000
DEFAULT_BULK = 1000
LONGEST_REASON = 500

OLD_STATES = {
    "pending": State.READY,
    "queued": State.READY,
    "processing": State.RUNNING,
    "completed": State.SUCCEEDED,
}
_STATES = {state.value: state.value for state in RESTING} | {old: state.value for old, state in OLD_STATES.items()}
_PRIORITIES = {level.word: level for level in Priority}
_MEMBERS = frozenset({"filter", "all", "dry_run", "limit", "reason", "operation_id"})


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
    check = _Check()
    for name in members.keys() - _MEMBERS:
        check.breach(f"/{strict_json.escaped(name)}", "is not a member of this request")
    names, filters = _filter(check, verb, members.get("filter", {}))
    everything = check.flag(members, "all")
    if not (everything or names or check.breaches) and filters == type(filters)():
        check.breach("/filter", 'is empty; narrow it, or say "all": true')
    action = BulkAction(
        verb=verb,
        names=names,
        filters=filters,
        dry_run=check.flag(members, "dry_run"),
        limit=_limit(check, members),
        reason=_reason(check, members),
        operation_id=_operation_id(check, members) or ids.mint(),
    )
    if check.breaches:
        raise InvalidRequest(check.breaches)
    return action


class _Check:
    """Reads members one by one and gathers what is wrong with them; what it returns after a breach is not used."""

    def __init__(self) -> None:
        self.breaches: list[Breach] = []

    def breach(self, pointer: str, detail: str) -> None:
        self.breaches.append(Breach(pointer, detail))

    def flag(self, members: Mapping[str, Any], name: str) -> bool:
        value = members.get(name, False)
        if not isinstance(value, bool):
            self.breach(f"/{name}", "must be true or false")
        return value is True

    def many(self, given: Mapping[str, Any], name: str, understood: Callable[[str], T]) -> tuple[T, ...]:
        """Read one word, several with commas, or a list of words."""
        if name not in given:
            return ()
        value = given[name]
        words = [word.strip() for word in value.split(",")] if isinstance(value, str) else value
        if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
            self.breach(f"/filter/{name}", "must be a word or a list of words, none of them empty")
            return ()
        try:
            return tuple(dict.fromkeys(understood(word) for word in words))
        except ValueError as error:
            self.breach(f"/filter/{name}", str(error))
            return ()

    def time(self, given: Mapping[str, Any], name: str) -> datetime | None:
        if name not in given:
            return None
        try:
            return requests.instant(given[name])
        except ValueError as error:
            self.breach(f"/filter/{name}", str(error))
            return None


def _filter(check: _Check, verb: Verb, given: Any) -> tuple[tuple[str, ...], JobFilter | DeadLetterFilter]:
    if not isinstance(given, dict):
        check.breach("/filter", "must be an object")
        given = {}
    known, read = (_JOB_MEMBERS, _of_jobs) if verb is Verb.CANCEL else (_DEATH_MEMBERS, _of_dead_letters)
    for name in given.keys() - known:
        check.breach(f"/filter/{strict_json.escaped(name)}", "is not a member of this filter")
    names = check.many(given, "ids", str)
    if len(names) > MOST_IDS:
        check.breach("/filter/ids", f"has {len(names)} ids; at most {MOST_IDS} are allowed")
    return names, read(check, given)


_JOB_MEMBERS = frozenset({"ids", "state", "type", "queue", "priority", "created_after", "created_before"})
_DEATH_MEMBERS = frozenset({"ids", "type", "queue", "failed_after", "failed_before", "error_contains"})


def _of_jobs(check: _Check, given: Mapping[str, Any]) -> JobFilter:
    return JobFilter(
        states=check.many(given, "state", _state),
        types=check.many(given, "type", str),
        queues=check.many(given, "queue", str),
        priorities=check.many(given, "priority", _one_of(_PRIORITIES)),
        created_after=check.time(given, "created_after"),
        created_before=check.time(given, "created_before"),
    )


def _of_dead_letters(check: _Check, given: Mapping[str, Any]) -> DeadLetterFilter:
    part = given.get("error_contains")
    if "error_contains" in given and not (isinstance(part, str) and 0 < len(part) <= 1000):
        check.breach("/filter/error_contains", "must be a string of 1 to 1000 characters")
        part = None
    return DeadLetterFilter(
        types=check.many(given, "type", str),
        queues=check.many(given, "queue", str),
        failed_after=check.time(given, "failed_after"),
        failed_before=check.time(given, "failed_before"),
        error_contains=part,
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


def _limit(check: _Check, members: Mapping[str, Any]) -> int:
    value = members.get("limit", DEFAULT_BULK)
    if type(value) is int and 1 <= value <= LARGEST_BULK:
        return value
    check.breach("/limit", f"must be a whole number from 1 to {LARGEST_BULK}")
    return DEFAULT_BULK


def _reason(check: _Check, members: Mapping[str, Any]) -> str | None:
    value = members.get("reason")
    if "reason" in members and not (isinstance(value, str) and len(value) <= LONGEST_REASON and is_keepable(value)):
        check.breach("/reason", f"must be a string of at most {LONGEST_REASON} characters")
    return value


def _operation_id(check: _Check, members: Mapping[str, Any]) -> UUID | None:
    if "operation_id" not in members:
        return None
    value = members["operation_id"]
    found = ids.parse(value) if isinstance(value, str) else None
    if found is None:
        check.breach("/operation_id", "must be a UUID")
    return found
