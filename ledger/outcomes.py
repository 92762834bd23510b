"""What a handler returned or raised, turned into events: the one place that decides, for workers and inline mode alike.

A handler ends with a value or an exception, and may wish: `Snooze`, `Cancel` (returned or raised), `Retry`, `Permanent`
(raised). A wish is honoured also as the cause of another exception, and in a group of exceptions. First an `Ending` is
made of it, where the handler ran, for its values and errors are the user's code; what follows from that, once the time
is known, is asked of `ledger.commands`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ledger import commands, durations
from ledger.errors import DeadlineExceeded, InvalidRequest, JobTimeout
from ledger.events import Failed
from ledger.texts import holds_null, plain, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable
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


class Snooze(Exception):
    """Return or raise it to put the job off: it runs again after so long, and no retry is used."""

    def __init__(self, delay: timedelta | float | str, reason: str | None = None) -> None:
        self.delay = _span(delay)
        self.reason = reason
        super().__init__(reason or "snooze")

    def __repr__(self) -> str:
        return f"Snooze({self.delay.total_seconds():g})"


class Cancel(Exception):
    """Return or raise it when the job is not wanted any more: it ends as cancelled, with this reason."""

    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason
        super().__init__(reason or "cancelled by its handler")


Wish = Retry | Permanent | Snooze | Cancel

Kinds = tuple[type[BaseException], ...]


class ErrorRules(NamedTuple):
    """Which exceptions of a handler are worth a retry: what its registration says."""

    retry_on: Kinds | None = None
    """With a list, all others are permanent."""
    give_up_on: Kinds = ()

    def gives_up(self, error: BaseException) -> bool:
        """Say whether the error is permanent. Of two listed classes the one nearest to the error's own decides."""
        for kind in type(error).__mro__:
            if kind in self.give_up_on:
                return True
            if kind in (self.retry_on or ()):
                return False
        # To be over its time is no exception that the handler raised, so no list of those says anything about it.
        return self.retry_on is not None and not isinstance(error, JobTimeout)


NO_RULES = ErrorRules()


class Ending(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How a run ended, in words that can be kept and sent: a result, or a failure, or the wish for something else."""

    result: bytes | None = None
    error_type: str | None = None
    error_message: str = ""
    stack_trace: str = ""
    permanent: bool = False
    after: timedelta | None = None
    snooze: timedelta | None = None
    cancel: bool = False
    reason: str | None = None
    """Why it is put off or cancelled."""

    def events(self, job: JobState, duration_ms: float, now: datetime, random: Random) -> Events:
        """Return what is to be recorded of it."""
        if self.cancel:
            return commands.cancel(job, reason=self.reason)
        if self.snooze is not None:
            return commands.snooze(job, now + self.snooze, self.reason)
        if self.error_type is None:
            return commands.succeed(job, duration_ms, self.result)
        failure = Failed(self.error_type, self.error_message, self.stack_trace, duration_ms)
        return commands.fail(job, failure, now, random, permanent=self.permanent, after=self.after)


def ending_of_value(value: Any) -> Ending:
    """Return the ending of a run that returned `value`; one that cannot be kept as JSON has failed for good."""
    if isinstance(value, Snooze | Cancel):
        return _ending_of_wish(value)
    try:
        return Ending(result=encode_result(value))
    except Permanent as error:
        return ending_of_error(error, "")


def ending_of_error(error: BaseException, stack: str, rules: ErrorRules = NO_RULES) -> Ending:
    """Return the ending of a run that raised."""
    wish = wish_of(error, rules)
    if isinstance(wish, Snooze | Cancel):
        return _ending_of_wish(wish)
    return Ending(
        error_type=type(error).__name__,
        error_message=message_of(error),
        stack_trace=plain(stack),
        permanent=isinstance(wish, Permanent),
        after=wish.after if isinstance(wish, Retry) else None,
    )


def returned(job: JobState, value: Any, duration_ms: float, now: datetime) -> Events:
    """Return the events of a run that returned `value`. Raise Permanent for one that cannot be kept as JSON."""
    if isinstance(value, Snooze):
        return commands.snooze(job, now + value.delay, value.reason)
    if isinstance(value, Cancel):
        return commands.cancel(job, reason=value.reason)
    return commands.succeed(job, duration_ms, encode_result(value))


def raised(
    job: JobState,
    error: BaseException,
    stack: str,
    duration_ms: float,
    now: datetime,
    random: Random,
    rules: ErrorRules = NO_RULES,
) -> Events:
    """Return the events of a run that ended in an exception."""
    return ending_of_error(error, stack, rules).events(job, duration_ms, now, random)


def said_of(value: Any) -> str:
    """Return in a word what a run came to that returned `value`."""
    return "snoozed" if isinstance(value, Snooze) else "cancelled" if isinstance(value, Cancel) else "succeeded"


def encode_result(value: Any) -> bytes | None:
    """Return a handler's value as JSON, None for None; raise Permanent, saying why, if it cannot be kept."""
    if value is None:
        return None
    try:
        result = msgspec.json.encode(value)
    except BaseException as error:
        raise Permanent(f"the handler's result cannot be written as JSON: {message_of(error)}") from error
    if len(result) > MAX_RESULT:
        raise Permanent(f"the handler's result has {len(result)} bytes of JSON; at most {MAX_RESULT} are kept")
    if holds_null(result):
        raise Permanent("the handler's result holds the character U+0000, which cannot be kept")
    return result


def message_of(error: BaseException) -> str:
    """Return what the error says of itself, as it can be kept; one that fails even at that harms nobody else."""
    return plain(text_of(error))


def wish_of(error: BaseException, rules: ErrorRules = NO_RULES) -> Wish | None:
    """Return what the handler wished for by its error, one of its causes or the members of a group, or by its rules."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if isinstance(link, Retry | Permanent | Snooze | Cancel):
            return link
        # A payload that does not fit its handler never will, and a deadline does not come back.
        if isinstance(link, InvalidRequest | DeadlineExceeded):
            return Permanent()
        if isinstance(link, BaseExceptionGroup):
            members: BaseExceptionGroup[BaseException] = link
            return _strongest([wish_of(member, rules) for member in members.exceptions])
        link = link.__cause__
    return Permanent() if rules.gives_up(error) else None


def _strongest(wishes: Iterable[Wish | None]) -> Wish | None:
    """Return what a group of errors comes to: a failure for good is not hidden by anything, and a snooze hides none."""
    found = list(wishes)
    for kind in (Permanent, Cancel):
        if (first := next((wish for wish in found if isinstance(wish, kind)), None)) is not None:
            return first
    retries = [wish for wish in found if isinstance(wish, Retry)]
    if retries:
        return max(retries, key=lambda wish: wish.after or timedelta())
    snoozes = [wish for wish in found if isinstance(wish, Snooze)]
    return max(snoozes, key=lambda wish: wish.delay) if len(snoozes) == len(found) else None


def _ending_of_wish(wish: Snooze | Cancel) -> Ending:
    reason = None if wish.reason is None else plain(text_of(wish.reason))
    return Ending(cancel=True, reason=reason) if isinstance(wish, Cancel) else Ending(snooze=wish.delay, reason=reason)


def _span(value: timedelta | float | str) -> timedelta:
    span = durations.parse(value) if isinstance(value, str) else value
    span = span if isinstance(span, timedelta) else timedelta(seconds=span)
    if span < timedelta():
        raise ValueError("a delay cannot be negative")
    return span
