"""Durations as people write them, and nothing guessed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.durations import in_words, parse


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("300ms", 0.3),
        ("90s", 90),
        ("1h30m", 5400),
        ("1h30m10s", 5410),
        ("1.5h", 5400),
        ("2500us", 0.0025),
        ("2500µs", 0.0025),
        ("1000000ns", 0.001),
        ("0.5s", 0.5),
        ("168h", 604_800),
        ("PT90S", 90),
        ("PT0S", 0),
        ("PT1H30M", 5400),
        ("P1DT2H", 93_600),
        ("P1D", 86_400),
        ("P2W", 1_209_600),
        ("PT0.25S", 0.25),
    ],
)
def test_both_spellings_are_read(text, seconds):
    assert parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "90",
        "1.5",
        "1d",
        "1w",
        "1 hour",
        "1h 30m",
        "s",
        "h1",
        "-1s",
        "+1s",
        "-PT1S",
        "PT-1S",
        "P",
        "PT",
        "P1DT",
        "P1Y",
        "P1M",
        "P1W2D",
        "1H",
        "pt1s",
        "1e3s",
        "nan",
        "inf",
        "infs",
        "1s\n",
        " 1s",
        "\u0661s",
        "1m1",
        "PT1S1M",
        "1_000s",
        "0x1s",
        "tomorrow",
    ],
)
def test_everything_else_is_refused_with_how_to_write_it(text):
    with pytest.raises(ValueError, match="300ms, 90s, 1h30m or PT90S") as refusal:
        parse(text)

    assert repr(text) in str(refusal.value)


@pytest.mark.parametrize("text", ["999999h", "P99999D", "999999999999999h"])
def test_more_than_a_hundred_years_is_refused(text):
    with pytest.raises(ValueError, match="longer than a hundred years"):
        parse(text)


@given(st.text(max_size=12) | st.from_regex(r"[0-9.PTDHMSWnuµmsh+-]{0,12}", fullmatch=True))
def test_any_text_is_either_a_duration_or_refused(text):
    try:
        span = parse(text)
    except ValueError:
        return
    assert timedelta() <= span <= timedelta(days=36_500)


@given(st.integers(0, 10_000_000))
def test_milliseconds_survive(count):
    assert parse(f"{count}ms") == timedelta(milliseconds=count)
    assert parse(f"PT{count // 1000}.{count % 1000:03}S") == timedelta(milliseconds=count)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(), "0ms"),
        (timedelta(microseconds=1500), "1.5ms"),
        (timedelta(microseconds=999_400), "999ms"),
        (timedelta(microseconds=999_600), "1s"),
        (timedelta(seconds=1.5), "1.5s"),
        (timedelta(seconds=59.96), "60s"),
        (timedelta(minutes=1), "1m"),
        (timedelta(minutes=61, seconds=30), "1h1m"),
        (timedelta(hours=24), "1d"),
        (timedelta(days=400, minutes=3), "400d3m"),
        (timedelta(seconds=-90), "-1m30s"),
    ],
)
def test_people_read_the_two_largest_parts(span, words):
    assert in_words(span) == words
