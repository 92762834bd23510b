"""Delays against their formulas: curve, cap, jitter below the cap, no overflow."""

from __future__ import annotations

import math
from random import Random
from statistics import fmean, pstdev
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.backoff import delay
from ledger.events import Backoff, Jitter, RetryPolicy
from tests.support import strategies

CURVES = get_args(Backoff)
JITTERS = get_args(Jitter)
DRAWS = 20_000


def policy(backoff: str = "exponential", jitter: str = "none", base: float = 10, top: float = 3600) -> RetryPolicy:
    return RetryPolicy(backoff=backoff, base_seconds=base, max_seconds=top, jitter=jitter)


def draws(chosen: RetryPolicy, n: int, previous: float | None = None) -> list[float]:
    random = Random(20261124)
    return [delay(chosen, n, previous, random) for _ in range(DRAWS)]


def is_uniform(sample: list[float], low: float, high: float) -> bool:
    """Kolmogorov-Smirnov against U(low, high), at a level a fixed seed never comes near by chance."""
    ordered = sorted(sample)
    steps = ((index / len(ordered), (value - low) / (high - low)) for index, value in enumerate(ordered))
    return max(abs(expected - actual) for expected, actual in steps) < 1.95 / math.sqrt(len(ordered))


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        ("constant", [10, 10, 10, 10, 10]),
        ("linear", [10, 20, 30, 40, 50]),
        ("exponential", [10, 20, 40, 80, 160]),
    ],
)
def test_t16_d28_the_curves(backoff, expected):
    assert [delay(policy(backoff), n, None, Random(1)) for n in range(5)] == expected


@pytest.mark.parametrize(("backoff", "n"), [("constant", 0), ("linear", 7), ("exponential", 3)])
def test_t16_d28_the_cap_cuts_the_curve(backoff, n):
    chosen = policy(backoff, base=10, top=75) if backoff != "constant" else policy(backoff, base=80, top=75)

    assert delay(chosen, n, None, Random(1)) == 75


@pytest.mark.parametrize("n", [0, 3, 20])
def test_full_jitter_is_uniform_from_nothing_to_the_delay(n):
    ceiling = min(10 * 2**n, 3600)

    assert is_uniform(draws(policy(jitter="full"), n), 0, ceiling)


@pytest.mark.parametrize("n", [0, 3, 20])
def test_equal_jitter_is_uniform_over_the_upper_half(n):
    ceiling = min(10 * 2**n, 3600)

    assert is_uniform(draws(policy(jitter="equal"), n), ceiling / 2, ceiling)


def test_decorrelated_jitter_starts_from_the_base():
    assert is_uniform(draws(policy(jitter="decorrelated"), 0), 10, 30)


def test_decorrelated_jitter_goes_on_from_the_last_delay():
    assert is_uniform(draws(policy(jitter="decorrelated"), 5, previous=100), 10, 300)


def test_decorrelated_jitter_never_shrinks_below_the_base_though_the_last_delay_was_shorter():
    assert is_uniform(draws(policy(jitter="decorrelated"), 5, previous=0.5), 10, 30)


def test_decorrelated_jitter_has_no_curve():
    assert draws(policy("constant", "decorrelated"), 0, 50) == draws(policy("exponential", "decorrelated"), 9, 50)


def test_decorrelated_jitter_is_capped_after_the_draw():
    drawn = draws(policy(jitter="decorrelated", top=150), 5, previous=100)

    assert max(drawn) == 150
    assert 0.45 < fmean(value == 150 for value in drawn) < 0.59
    assert is_uniform([value for value in drawn if value < 150], 10, 150)


def test_jitter_is_drawn_below_the_cap_so_it_still_spreads_there():
    drawn = draws(policy(jitter="equal"), 60)

    assert max(drawn) <= 3600
    assert pstdev(drawn) > 400
    assert len(set(drawn)) > DRAWS * 0.99


@given(
    strategies.policies.filter(lambda p: p.base_seconds <= p.max_seconds),
    st.integers(0, 10**9),
    st.none() | st.floats(0, 604_800),
    st.integers(),
)
def test_no_delay_is_negative_infinite_or_over_the_cap(chosen, n, previous, seed):
    seconds = delay(chosen, n, previous, Random(seed))

    assert math.isfinite(seconds)
    assert 0 <= seconds <= chosen.max_seconds


@pytest.mark.parametrize("backoff", CURVES)
@pytest.mark.parametrize("jitter", JITTERS)
@pytest.mark.parametrize("n", [0, 62, 63, 64, 1023, 1024, 10**6, 10**18])
def test_nothing_overflows(backoff, jitter, n):
    assert 0 <= delay(policy(backoff, jitter, base=0.001, top=604_800), n, 604_800, Random(n)) <= 604_800


def test_the_randomness_is_the_callers():
    chosen = policy(jitter="full")

    assert delay(chosen, 4, None, Random(7)) == delay(chosen, 4, None, Random(7))
    assert delay(chosen, 4, None, Random(7)) != delay(chosen, 4, None, Random(8))
