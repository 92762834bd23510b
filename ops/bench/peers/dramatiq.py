"""Dramatiq: Redis, one process of threads, or two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from ops.bench.peers.setting import EACH, PROCESSES, REDIS_URL, become, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

broker = RedisBroker(url=REDIS_URL)
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(number: int) -> None:
    mark(number)


def prepare() -> None:
    """Nothing to prepare."""


def enqueue(number: int) -> None:
    noop.send(number)


def enqueue_bulk(numbers: Sequence[int]) -> None:
    for number in numbers:
        noop.send(number)


def work() -> None:
    become("dramatiq", "ops.bench.peers.dramatiq", "--processes", str(PROCESSES), "--threads", str(EACH))
