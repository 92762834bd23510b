"""How long to wait before a retry: three curves, four jitters, and the cap, as pure functions.

With n = retries already used: constant `base`, linear `base·(n+1)`, exponential `base·2^n`; then `c = min(that, max)`,
and jitter is drawn *below* the cap: none `c`, full `U(0, c)`, equal `c/2 + U(0, c/2)`, decorrelated
`min(max, U(base, 3·previous))` in place of the curve. Source: "Exponential Backoff and Jitter", AWS Architecture Blog,
2015.

>>> from ledger.events import RetryPolicy
>>> from random import Random
>>> policy = RetryPolicy(backoff="exponential", base_seconds=10, max_seconds=3600, jitter="none")
>>> [delay(policy, n, None, Random(1)) for n in (0, 1, 2, 9, 100_000)]
[10, 20, 40, 3600, 3600]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from random import Random

    from ledger.events import RetryPolicy

_LARGEST_EXPONENT = 64
"""2^64 times any base is over any cap, and no float overflows before it."""


def delay(policy: RetryPolicy, retry_count: int, previous: float | None, random: Random) -> float:
    """Return seconds to wait, never below 0 and never above `policy.max_seconds`.

    `retry_count` is n, 0 before the first retry; `previous` is the delay drawn last, for decorrelated jitter.
    """
    if policy.jitter == "decorrelated":
        start = policy.base_seconds if previous is None else max(previous, policy.base_seconds)
        return min(policy.max_seconds, random.uniform(policy.base_seconds, 3 * start))
    ceiling = min(_curve(policy, retry_count), policy.max_seconds)
    match policy.jitter:
        case "none":
            return ceiling
        case "full":
            return random.uniform(0, ceiling)
        case "equal":
            return ceiling / 2 + random.uniform(0, ceiling / 2)
        case _:
            assert_never(policy.jitter)


def _curve(policy: RetryPolicy, n: int) -> float:
    match policy.backoff:
        case "constant":
            return policy.base_seconds
        case "linear":
            return policy.base_seconds * (n + 1)
        case "exponential":
            return policy.base_seconds * 2 ** min(n, _LARGEST_EXPONENT)
        case _:
            assert_never(policy.backoff)
