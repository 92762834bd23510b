"""SAQ: Redis, event loop; results not kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from saq import Queue

from ops.bench.peers.setting import CONCURRENCY, REDIS_URL, become, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

queue = Queue.from_url(REDIS_URL)


async def noop(_: dict[str, Any], *, number: int) -> None:
    mark(number)


settings = {"queue": queue, "functions": [noop], "concurrency": CONCURRENCY}


def prepare() -> None:
    """Nothing to prepare."""


async def enqueue(number: int) -> None:
    await queue.enqueue("noop", number=number, ttl=-1)


async def enqueue_bulk(numbers: Sequence[int]) -> None:
    for start in range(0, len(numbers), 100):
        await asyncio.gather(*(queue.enqueue("noop", number=number, ttl=-1) for number in numbers[start : start + 100]))


def work() -> None:
    become("saq", "ops.bench.peers.saq.settings")
