"""Huey: Redis, threads. It has no bulk call; threads are what its documentation advises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from huey import RedisHuey

from ops.bench.peers.setting import EACH, PROCESSES, REDIS_URL, become, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

app = RedisHuey("bench", url=REDIS_URL, results=False)


@app.task()
def noop(number: int) -> None:
    mark(number)


def prepare() -> None:
    """Nothing to prepare."""


def enqueue(number: int) -> None:
    noop(number)


def enqueue_bulk(numbers: Sequence[int]) -> None:
    for number in numbers:
        noop(number)


def work() -> None:
    if PROCESSES == 2:
        become("python", "-m", "ops.bench.twice", "huey")
    become("huey_consumer", "ops.bench.peers.huey.app", "-w", str(EACH), "-k", "thread", "-q", "-n")
