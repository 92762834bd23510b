"""What a handler returned or raised, turned into events: the one place that decides, for workers and inline mode alike.

A handler ends with a value or an exception. `Snooze` is a value, for putting a job off is not a failure; `Retry` and
`Permanent` are exceptions, and are honoured also as the cause of another.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from ledger import commands, durations
from ledger.errors import InvalidRequest
from ledger.events import Failed
from ledger.texts import holds_null, plain

if TYPE_CHECKING:
    from random import Random

    from ledger.commands import Events
    from ledger.job import JobState

MAX_RESULT = 1 << 20
"""Bytes of JSON a handler may return."""


class Retry(Exception):
    """Raise it to fail this run and be retried: after exactly `after` if given, else by the job's policy.

    It uses one retry of the budget; without any left the job is dead-lettered.
    """

    def __init__(self, message: str = "", *, after: timedelta | float | str | None = None) -> None:
        self.after = None if after is None else _span(after)
        super().__init__(message)


class Permanent(Exception):
    """Raise it when no retry can help: the job is dead-lettered at once, whatever its budget."""


class Snooze:
    """Return it to put the job off: it runs again after so long, and no retry is used."""

    def __init__(self, delay: timedelta | float | str, reason: str | None = None) -> None:
        self.delay = _span(delay)
        self.reason = reason

    def __repr__(self) -> str:
        return f"Snooze({self.delay.total_seconds():g})"


def returned(job: JobState, value: Any, duration_ms: float, now: datetime) -> Events:
    """Return the events of a run that returned `value`. Raise Permanent for one that cannot be kept as JSON."""
    if isinstance(value, Snooze):
        return commands.snooze(job, now + value.delay, value.reason)
    return commands.succeed(job, duration_ms, encode_result(value))


def raised(
    job: JobState, error: BaseException, stack: str, duration_ms: float, now: datetime, random: Random
) -> Events:
    """Return the events of a run that ended in an exception."""
    failure = Failed(
        error_type=type(error).__name__,
        error_message=plain(message_of(error)),
        stack_trace=plain(stack),
        duration_ms=duration_ms,
    )
    wish = wish_of(error)
    permanent = isinstance(wish, Permanent | InvalidRequest)
    after = wish.after if isinstance(wish, Retry) else None
    return commands.fail(job, failure, now, random, permanent=permanent, after=after)


def encode_result(value: Any) -> bytes | None:
    """Return a handler's value as JSON, None for None; raise Permanent, saying why, if it cannot be kept."""
    if value is None:
        return None
    try:
        result = msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise Permanent(f"the handler's result cannot be written as JSON: {error}") from error
    if len(result) > MAX_RESULT:
        raise Permanent(f"the handler's result has {len(result)} bytes of JSON; at most {MAX_RESULT} are kept")
    if holds_null(result):
        raise Permanent("the handler's result holds the character U+0000, which cannot be kept")
    return result


def message_of(error: BaseException) -> str:
    """Return what the error says of itself; one that fails even at that must not harm its neighbours."""
    try:
        return str(error)
    except Exception as trouble:  # noqa: BLE001 — the user's code
        return f"(the error's own text cannot be had: {type(trouble).__name__})"


def wish_of(error: BaseException) -> BaseException | None:
    """Return what the handler wished for by its error or one of its causes: a Retry, a Permanent, or a bad payload."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        # A payload that does not fit its handler never will: the same as Permanent.
        if isinstance(link, Retry | Permanent | InvalidRequest):
            return link
        seen.add(id(link))
        link = link.__cause__
    return None


def _span(value: timedelta | float | str) -> timedelta:
    span = durations.parse(value) if isinstance(value, str) else value
    span = span if isinstance(span, timedelta) else timedelta(seconds=span)
    if span < timedelta():
        raise ValueError("a delay cannot be negative")
    return span
