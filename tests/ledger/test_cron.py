"""Cron: what is refused, and which instants the rest means, on both nights of the year and by brute force."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.cron import last_ticks, next_ticks, parse, zone_named

ANCHOR = datetime(2026, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)


def local(expression: str, zone: str, start: str, count: int) -> list[str]:
    """The next ticks, as the clocks on the wall show them."""
    place = zone_named(zone)
    ticks = next_ticks(parse(expression), datetime.fromisoformat(start), place, ANCHOR, count)
    return [tick.astimezone(place).isoformat(timespec="minutes") for tick in ticks]


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "0 fields"),
        ("* * * *", "4 fields"),
        ("* * * * * * *", "7 fields"),
        ("60 * * * *", "'60' is no minute"),
        ("* 24 * * *", "'24' is no hour"),
        ("* * 0 * *", "day-of-month"),
        ("* * * 13 *", "month"),
        ("* * * * 8", "day-of-week"),
        ("-1 * * * *", "'-1' is no minute"),
        ("5-1 * * * *", "'5-1'"),
        ("*/0 * * * *", "'*/0'"),
        ("1,,2 * * * *", "''"),
        ("1//2 * * * *", "'1//2'"),
        ("? * * * *", "'?' is no minute"),
        ("* * L * *", "'l' is no day-of-month"),
        ("* * * * 5#1", "'5#1'"),
        ("H * * * *", "'h'"),
        ("* * * foo *", "'foo' is no month"),
        ("\u0661 * * * *", "is no minute"),
        ("@reboot", "'@reboot' is not known"),
        ("@every", "is not a duration"),
        ("@every 999ms", "too often"),
        ("@every 1d", "is not a duration"),
        ("@every -5s", "is not a duration"),
        ("0 0 30 2 *", "never ticks"),
        ("0 0 31 2,4,6,9,11 *", "never ticks"),
        ("*" * 257, "longer than 256"),
        ("9" * 250, "1 fields"),
    ],
)
def test_d30_a_bad_expression_is_refused_and_the_refusal_helps(expression: str, says: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse(expression)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "name",
    ["", "Mars/Olympus", "/etc/localtime", "../../etc/passwd", "America", "localtime", "posix/UTC", "right/UTC",
     "UTC\n", "posixrules", "Factory", "A" * 1000, "Europe/Berlin\0", "utc+1"],
)  # fmt: skip
def test_d30_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone"):
        zone_named(name)


@pytest.mark.parametrize(
    ("expression", "same"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
        ("0 * * * * *", "* * * * *"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * SUN", "0 0 * * 0"),
        ("0 0 * * 5-7", "0 0 * * fri,sat,sun"),
        ("0 0 * * fri-sun", "0 0 * * 0,5,6"),
        ("0 0 1 JAN-Mar ?", "0 0 1 1,2,3 *"),
        ("0 0 ? * mon", "0 0 * * 1"),
        ("5/20 * * * *", "5,25,45 * * * *"),
        ("10-30/10 * * * *", "10,20,30 * * * *"),
        ("  0   0 * * *  ", "0 0 * * *"),
    ],
)
def test_spellings(expression: str, same: str) -> None:
    assert local(expression, "UTC", "2026-01-01T00:00:00Z", 20) == local(same, "UTC", "2026-01-01T00:00:00Z", 20)


def test_seconds_come_first() -> None:
    ticks = next_ticks(parse("*/20 30 9 * * *"), ANCHOR, zone_named("UTC"), ANCHOR, 3)
    assert [tick.isoformat()[11:19] for tick in ticks] == ["09:30:00", "09:30:20", "09:30:40"]


def test_either_day_is_enough_where_both_are_restricted() -> None:
    found = local("0 0 13 * fri", "UTC", "2026-02-01T00:00:00Z", 5)
    assert [each[:10] for each in found] == ["2026-02-06", "2026-02-13", "2026-02-20", "2026-02-27", "2026-03-06"]
    assert local("0 0 30 2 mon", "UTC", "2026-02-01T00:00:00Z", 1) == ["2026-02-02T00:00+00:00"]


def test_a_leap_day_is_waited_for_over_a_century_without_one() -> None:
    assert local("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1) == ["2104-02-29T00:00+00:00"]


def test_every_counts_from_the_anchor() -> None:
    every, utc = parse("@every 90s"), zone_named("UTC")
    assert next_ticks(every, ANCHOR, utc, ANCHOR, 2) == [ANCHOR + timedelta(seconds=n) for n in (90, 180)]
    late = ANCHOR + timedelta(seconds=200)
    assert next_ticks(every, late, utc, ANCHOR, 1) == [ANCHOR + timedelta(seconds=270)]
    assert next_ticks(every, ANCHOR + timedelta(seconds=180), utc, ANCHOR, 1) == [ANCHOR + timedelta(seconds=270)]


def test_a_period_of_a_century_has_as_many_ticks_as_there_are_years_to_write() -> None:
    ticks = next_ticks(parse("@every 876000h"), ANCHOR, zone_named(NEW_YORK), ANCHOR, 100)
    assert [tick.year for tick in (ticks[0], ticks[-1])] == [2125, 9920]


NEW_YORK, BERLIN, LORD_HOWE, SYDNEY = "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Australia/Sydney"


@pytest.mark.parametrize(
    ("expression", "zone", "start", "expected"),
    [
        # In a gap: once, at the first instant after it, and the next day at its own time again.
        ("30 2 * * *", NEW_YORK, "2026-03-08T05:00Z", ["2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00"]),
        ("0,15,45 2 * * *", NEW_YORK, "2026-03-08T05:00Z", ["2026-03-08T03:00-04:00", "2026-03-09T02:00-04:00"]),
        ("0 2,3 * * *", NEW_YORK, "2026-03-08T05:00Z", ["2026-03-08T03:00-04:00", "2026-03-09T02:00-04:00"]),
        ("30 2 * * *", NEW_YORK, "2026-03-08T06:59:59Z", ["2026-03-08T03:00-04:00"]),
        ("30 2 * * *", NEW_YORK, "2026-03-08T07:00:00Z", ["2026-03-09T02:30-04:00"]),
        ("30 2 29 3 *", BERLIN, "2026-03-01T00:00Z", ["2026-03-29T03:00+02:00", "2027-03-29T02:30+02:00"]),
        ("10 2 * * *", LORD_HOWE, "2026-10-03T12:00Z", ["2026-10-04T02:30+11:00", "2026-10-05T02:10+11:00"]),
        ("30 0-23/2 * * *", NEW_YORK, "2026-03-08T05:40Z", ["2026-03-08T03:00-04:00", "2026-03-08T04:30-04:00"]),
        # At midnight.
        ("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00Z", ["2026-04-24T01:00+03:00", "2026-04-25T00:00+03:00"]),
        # In a fold: once, the first time.
        ("30 1 * * *", NEW_YORK, "2026-11-01T04:00Z", ["2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"]),
        ("30 1 * * *", NEW_YORK, "2026-11-01T05:30Z", ["2026-11-02T01:30-05:00"]),
        ("*/30 1 * * *", NEW_YORK, "2026-11-01T06:10Z", ["2026-11-02T01:00-05:00"]),
        ("0 1,2 * * *", NEW_YORK, "2026-11-01T04:00Z", ["2026-11-01T01:00-04:00", "2026-11-01T02:00-05:00"]),
        ("30 2 * * *", BERLIN, "2026-10-24T23:00Z", ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),
        ("45 1 * * *", LORD_HOWE, "2026-04-04T14:00Z", ["2026-04-05T01:45+11:00", "2026-04-06T01:45+10:30"]),
        ("30 2 * * *", SYDNEY, "2026-04-04T14:00Z", ["2026-04-05T02:30+11:00", "2026-04-06T02:30+10:00"]),
        # An hour field that starts with a star follows elapsed time.
        ("0 * * * *", NEW_YORK, "2026-03-08T05:30Z", ["2026-03-08T01:00-05:00", "2026-03-08T03:00-04:00"]),
        (
            "30 * * * *", NEW_YORK, "2026-11-01T05:00Z",
            ["2026-11-01T01:30-04:00", "2026-11-01T01:30-05:00", "2026-11-01T02:30-05:00"],
        ),
        (
            "*/30 * * * *", LORD_HOWE, "2026-10-03T14:50Z",
            ["2026-10-04T01:30+10:30", "2026-10-04T02:30+11:00", "2026-10-04T03:00+11:00"],
        ),
        (
            "*/30 * * * *", LORD_HOWE, "2026-04-04T14:10Z",
            ["2026-04-05T01:30+11:00", "2026-04-05T01:30+10:30", "2026-04-05T02:00+10:30"],
        ),
        ("0 */2 * * *", NEW_YORK, "2026-03-08T04:30Z", ["2026-03-08T00:00-05:00", "2026-03-08T04:00-04:00"]),
        ("@hourly", BERLIN, "2026-10-25T00:30Z", ["2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"]),
    ],
)  # fmt: skip
def test_t17_the_nights_on_which_clocks_change(expression: str, zone: str, start: str, expected: list[str]) -> None:
    """T17: both DST nights."""
    assert local(expression, zone, start, len(expected)) == expected


@pytest.mark.parametrize(
    "zone", [NEW_YORK, BERLIN, LORD_HOWE, SYDNEY, "Africa/Cairo", "America/Havana", "Asia/Kolkata"]
)
@pytest.mark.parametrize("expression", ["17 1 * * *", "30 2 * * *", "0 0 * * *", "59 23 * * *"])
def test_t17_a_daily_time_comes_once_on_every_day_of_the_year(expression: str, zone: str) -> None:
    """T17: also on both nights."""
    days = [each[:10] for each in local(expression, zone, "2026-01-01T00:00:00Z", 366)]
    first = datetime.fromisoformat(days[0]).date()
    assert days == [str(first + timedelta(days=n)) for n in range(366)]


@pytest.mark.parametrize("zone", [NEW_YORK, LORD_HOWE, "Africa/Casablanca"])
def test_t17_a_quarter_hour_is_a_quarter_hour_all_year(zone: str) -> None:
    """T17: elapsed time, through both nights."""
    ticks = next_ticks(parse("*/15 * * * *"), datetime(2026, 1, 1, tzinfo=UTC), zone_named(zone), ANCHOR, 4 * 24 * 366)
    assert {after - before for before, after in pairwise(ticks)} == {timedelta(minutes=15)}


def fields(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    spans = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    single = st.one_of(number.map(str), spans, st.tuples(spans, st.integers(1, 9)).map(lambda p: f"{p[0]}/{p[1]}"))
    lists = st.lists(single, min_size=1, max_size=3).map(",".join)
    return st.one_of(lists, st.just("*"), st.integers(1, 9).map(lambda step: f"*/{step}"))


NIGHTS = [
    (NEW_YORK, "2026-03-07T18:00Z"), (NEW_YORK, "2026-10-31T18:00Z"), (LORD_HOWE, "2026-10-03T06:00Z"),
    (LORD_HOWE, "2026-04-04T06:00Z"), ("Africa/Cairo", "2026-04-23T12:00Z"), ("America/Havana", "2026-10-31T18:00Z"),
    ("UTC", "2026-02-27T20:00Z"), ("America/Sao_Paulo", "2018-11-03T18:00Z"),
    ("America/Sao_Paulo", "2018-02-17T18:00Z"),
    ("Africa/Casablanca", "2026-02-14T18:00Z"), ("Africa/Casablanca", "2026-03-21T18:00Z"),
    ("Antarctica/Troll", "2026-03-28T18:00Z"), ("Antarctica/Troll", "2026-10-24T18:00Z"),
    ("Pacific/Apia", "2011-12-29T22:00Z"), ("Asia/Kathmandu", "2026-05-05T10:00Z"),
]  # fmt: skip


@settings(max_examples=150)
@given(minute=fields(0, 59), hour=fields(0, 23), day=fields(1, 31), weekday=fields(0, 6), night=st.sampled_from(NIGHTS))
def test_what_is_found_is_what_a_walk_over_every_minute_finds(
    minute: str, hour: str, day: str, weekday: str, night: tuple[str, str]
) -> None:
    zone, start = zone_named(night[0]), datetime.fromisoformat(night[1])
    end = start + timedelta(hours=30)
    matches = Walk(minute, hour, day, weekday)
    cron = parse(f"{minute} {hour} {day} * {weekday}")
    found, at = [], start
    while (at := cron.after(at, zone, ANCHOR)) <= end:
        found.append(at)
    expected = matches.elapsed(start, end, zone) if hour.startswith("*") else matches.wall(start, end, zone)
    assert found == expected


class Walk:
    """The policy said once more, by brute force: look at every minute."""

    def __init__(self, *parts: str) -> None:
        self.is_day_free, self.is_weekday_free = parts[2] in ("*", "*/1"), parts[3] in ("*", "*/1")
        ranges = ((0, 59), (0, 23), (1, 31), (0, 6))
        self.minutes, self.hours, self.days, self.weekdays = (
            values(part, *limits) for part, limits in zip(parts, ranges, strict=True)
        )
        self.is_day_free |= len(self.days) == 31
        self.is_weekday_free |= len(self.weekdays) == 7

    def fits(self, wall: datetime) -> bool:
        on_day, on_weekday = wall.day in self.days, wall.isoweekday() % 7 in self.weekdays
        if self.is_day_free or self.is_weekday_free:
            fits_day = (self.is_day_free or on_day) and (self.is_weekday_free or on_weekday)
        else:
            fits_day = on_day or on_weekday
        return fits_day and wall.hour in self.hours and wall.minute in self.minutes

    def elapsed(self, start: datetime, end: datetime, zone) -> list[datetime]:
        return [at for at in minutes(start, end) if self.fits(at.astimezone(zone))]

    def wall(self, start: datetime, end: datetime, zone) -> list[datetime]:
        """For each wall minute that matches: the first instant whose clock shows it or, skipping it, a later time."""
        shown = [(at.astimezone(zone).replace(tzinfo=None), at) for at in minutes(start - timedelta(days=1), end)]
        ticks, latest = set(), shown[0][0]
        for wall, at in shown[1:]:
            passed = latest + timedelta(minutes=1)
            while passed <= wall:
                if self.fits(passed):
                    ticks.add(at)
                latest, passed = passed, passed + timedelta(minutes=1)
        return sorted(tick for tick in ticks if tick > start)


def values(part: str, low: int, high: int) -> set[int]:
    found = set()
    for each in part.split(","):
        span, _, step = each.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


def minutes(start: datetime, end: datetime) -> list[datetime]:
    count = int((end - start) / timedelta(minutes=1))
    return [start + timedelta(minutes=n) for n in range(1, count + 1)]


@given(most=st.integers(1, 40), hours=st.integers(0, 400))
@settings(max_examples=40)
def test_the_last_ticks_are_the_end_of_all_of_them(most: int, hours: int) -> None:
    cron, zone = parse("7,31 3 * * mon"), zone_named(NEW_YORK)
    since, until = ANCHOR, ANCHOR + timedelta(hours=hours)
    everything = [tick for tick in next_ticks(cron, since, zone, ANCHOR, 20) if tick <= until]
    assert last_ticks(cron, since, until, zone, ANCHOR, most) == everything[-most:]


def test_the_last_tick_of_a_month_of_seconds_is_found_at_once() -> None:
    until = ANCHOR + timedelta(days=30)
    found = last_ticks(parse("* * * * * *"), ANCHOR, until, zone_named("UTC"), ANCHOR, 1000)
    assert found == [until.replace(microsecond=0) - timedelta(seconds=n) for n in reversed(range(1000))]
