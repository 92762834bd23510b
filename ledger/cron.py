"""Cron expressions: which are refused, and when the next tick comes, with a policy of its own for the nights on which
clocks change.

Five fields, six with seconds first, the `@` words, or `@every <duration>`. Pure: instants go in and come out in UTC. A
field is read here and handed to croniter as plain numbers, which finds matching wall times; from there to instants:

* an hour field that starts with `*` follows elapsed time: a tick is every instant whose local time matches, so nothing
  is made up for an hour that is skipped, and an hour that comes twice counts twice;
* any other names a wall time, once a day: one that is skipped falls on the first instant after the gap, one that comes
  twice on the first of the two. All that fall on one instant are one tick.
"""

from __future__ import annotations

import re
from collections import deque
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from ledger import durations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST_EXPRESSION = 256
SHORTEST_PERIOD = timedelta(seconds=1)

_SECOND = timedelta(seconds=1)
_STRIDE = timedelta(hours=12)
"""No zone changes its clocks twice in that time."""

_MACROS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTH_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(r"(\*|\?|[0-9a-z]{1,3}(?:-[0-9a-z]{1,3})?)(?:/([0-9]{1,3}))?", re.ASCII)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}", re.ASCII)
_NO_ZONES = frozenset({"Factory", "leapseconds", "localtime", "posixrules", "tzdata"})


class Cron(Protocol):
    """When to tick. `anchor` is the creation of the schedule, from which periods are counted."""

    def after(self, instant: datetime, zone: ZoneInfo, anchor: datetime) -> datetime:
        """Return the first tick later than this instant."""
        ...


def parse(expression: str) -> Cron:
    """Return what the expression means; raise ValueError, saying what is allowed, for a bad one and one that never
    ticks.

    >>> new_york = ZoneInfo("America/New_York")
    >>> night = datetime(2026, 3, 8, 5, tzinfo=UTC)
    >>> parse("30 2 * * *").after(night, new_york, night).isoformat()
    '2026-03-08T07:00:00+00:00'
    """
    if len(expression) > LONGEST_EXPRESSION:
        raise ValueError(f"is longer than {LONGEST_EXPRESSION} characters")
    text = " ".join(expression.split())
    word, _, rest = text.partition(" ")
    if word == "@every":
        return _Every(_period(rest))
    if word.startswith("@"):
        if text not in _MACROS:
            raise ValueError(f"{text!r} is not known; use {', '.join(_MACROS)} or @every <duration>")
        text = _MACROS[text]
    return _Fields(text)


def zone_named(name: str) -> ZoneInfo:
    """Return the IANA time zone; raise ValueError for what names none."""
    if _ZONE.fullmatch(name) and name not in _NO_ZONES and not name.startswith(("posix/", "right/")):
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            pass
    raise ValueError(f"{name[:50]!r} is not a time zone; use a name such as UTC or Europe/Berlin")


def ticks_after(cron: Cron, instant: datetime, zone: ZoneInfo, anchor: datetime) -> Iterator[datetime]:
    """Yield the ticks later than this instant, in order, until there are no more years to write."""
    while True:
        try:
            instant = cron.after(instant, zone, anchor)
        except OverflowError:
            return
        yield instant


def last_ticks(
    cron: Cron, since: datetime, until: datetime, zone: ZoneInfo, anchor: datetime, most: int
) -> list[datetime]:
    """Return the last ticks from `since` to `until`, both included, in order: at most so many.

    Looks back twice as far each time, so that a long absence costs no more than what it looks for.
    """
    back = _SECOND * most
    while True:
        start = max(since, until - back)
        ticks = takewhile(lambda tick: tick <= until, ticks_after(cron, start - _SECOND / 1_000_000, zone, anchor))
        found = deque(ticks, maxlen=most)
        if len(found) == most or start == since:
            return list(found)
        back *= 2


def next_ticks(cron: Cron, instant: datetime, zone: ZoneInfo, anchor: datetime, count: int) -> list[datetime]:
    """Return the next so many ticks later than this instant; fewer where years end before."""
    return list(islice(ticks_after(cron, instant, zone, anchor), count))


class _Every:
    """A fixed period, counted from the anchor."""

    def __init__(self, period: timedelta) -> None:
        self._period = period

    def after(self, instant: datetime, zone: ZoneInfo, anchor: datetime) -> datetime:  # noqa: ARG002 — the protocol's
        anchor = anchor.astimezone(UTC)
        return anchor + max((instant - anchor) // self._period + 1, 1) * self._period


class _Fields:
    """Six fields, each the set of its values."""

    def __init__(self, text: str) -> None:
        fields = text.lower().split(" ")
        if len(fields) not in (5, 6):
            raise ValueError(f"has {len(fields) if text else 0} fields; write 5, or 6 with seconds first")
        fields = fields if len(fields) == 6 else ["0", *fields]
        sets = [field.read(part) for field, part in zip(_FIELDS, fields, strict=True)]
        _refuse_never(*sets[3:])
        self._numbers = " ".join(field.spelled(values) for field, values in zip(_FIELDS, sets, strict=True))
        self._is_elapsed = fields[2].startswith("*")

    def after(self, instant: datetime, zone: ZoneInfo, anchor: datetime) -> datetime:  # noqa: ARG002 — the protocol's
        start = instant.astimezone(UTC).replace(microsecond=0) + _SECOND
        return self._elapsed(start, zone) if self._is_elapsed else self._wall(start, zone)

    def _elapsed(self, start: datetime, zone: ZoneInfo) -> datetime:
        """Go from one change of the clocks to the next; in between, wall times and instants run side by side."""
        while True:
            offset = _offset(start, zone)
            tick = next(self._matches((start + offset).replace(tzinfo=None))).replace(tzinfo=UTC) - offset
            change = _first_change(start, tick, zone)
            if change is None:
                return tick
            start = change

    def _wall(self, start: datetime, zone: ZoneInfo) -> datetime:
        # Counted from the second before: at the end of a gap, what the gap skipped is still to come.
        local = (start - _SECOND).astimezone(zone).replace(tzinfo=None, fold=0) + _SECOND
        ticks = (_instant(wall, zone) for wall in self._matches(local))
        return next(tick for tick in ticks if tick >= start)

    def _matches(self, start: datetime) -> Iterator[datetime]:
        """Yield the wall times that match, from this one on."""
        from croniter import croniter  # noqa: PLC0415 — most processes have no schedules, and it takes half a megabyte

        found = croniter(self._numbers, start - _SECOND, ret_type=datetime, second_at_beginning=True)
        while True:
            yield found.get_next()


class _Field:
    """What one field may say."""

    def __init__(self, name: str, least: int, most: int, names: tuple[str, ...] = (), *, wraps: bool = False) -> None:
        self.name, self.least, self.most = name, least, most
        self._names = {word: least + n for n, word in enumerate(names)}
        self._wraps = wraps
        """Sunday is 7 as well as 0."""

    def read(self, text: str) -> frozenset[int]:
        return frozenset(value for part in text.split(",") for value in self._part(part))

    def spelled(self, values: frozenset[int]) -> str:
        full = len(values) == self.most - self.least + 1
        return "*" if full else ",".join(str(value) for value in sorted(values))

    def _part(self, text: str) -> Iterator[int]:
        match = _PART.fullmatch(text)
        if match is None:
            raise self._refusal(text)
        span, step = match[1], int(match[2] or 1)
        if span == "?" and self.name not in ("day-of-month", "day-of-week"):
            raise self._refusal(text)
        if span in ("*", "?"):
            low, high = self.least, self.most
        else:
            first, dash, last = span.partition("-")
            low = self._value(first, text)
            # `5/15` means from 5 on, every 15.
            high = self._value(last, text) if dash else self.most if match[2] else low
        if self._wraps and high < low and high == 0:
            high = 7  # as in fri-sun
        if step == 0 or low > high:
            raise self._refusal(text)
        return (value % 7 if self._wraps else value for value in range(low, high + 1, step))

    def _value(self, word: str, text: str) -> int:
        value = self._names.get(word, int(word) if word.isdecimal() else -1)
        if not self.least <= value <= self.most + self._wraps:
            raise self._refusal(text)
        return value

    def _refusal(self, text: str) -> ValueError:
        names = f" or {next(iter(self._names))}…{list(self._names)[-1]}" if self._names else ""
        allowed = f"use {self.least} to {self.most + self._wraps}{names}, with * , - /"
        return ValueError(f"{text[:20]!r} is no {self.name}; {allowed}")


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day-of-month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day-of-week", 0, 6, _DAYS, wraps=True),
)


def _refuse_never(days: frozenset[int], months: frozenset[int], weekdays: frozenset[int]) -> None:
    # A restricted day of the week comes every week: either day is enough where both are restricted.
    if len(weekdays) == 7 and min(days) > max(_MONTH_LENGTHS[month - 1] for month in months):
        raise ValueError(f"never ticks: none of these months has a day {min(days)}")


def _period(text: str) -> timedelta:
    period = durations.parse(text)
    if period < SHORTEST_PERIOD:
        raise ValueError(f"@every {text} is too often; at least 1s")
    return period


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return when this wall time comes: the first time, and where it is skipped the end of the gap."""
    first = wall.replace(tzinfo=zone).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None, fold=0) == wall:
        return first
    # In a gap, fold=0 counts with the clock before it and so comes out behind it, fold=1 in front of it.
    after = _first_change(wall.replace(tzinfo=zone, fold=1).astimezone(UTC), first, zone)
    assert after is not None
    return after


def _first_change(start: datetime, end: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the first instant after `start`, up to `end`, at which the clocks have changed."""
    offset = _offset(start, zone)
    while start < end:
        step = min(start + _STRIDE, end)
        if _offset(step, zone) != offset:
            return _bisected(start, step, lambda at: _offset(at, zone) != offset)
        start = step
    return None


def _bisected(before: datetime, after: datetime, holds: Callable[[datetime], bool]) -> datetime:
    """Return the first whole second at which it holds, which it does not yet at `before` and does at `after`."""
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0) if middle.replace(microsecond=0) > before else middle
        before, after = (before, middle) if holds(middle) else (middle, after)
    return after
