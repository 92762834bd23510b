"""taskiq: Redis Streams with acknowledgements, no result backend."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from taskiq_redis import RedisStreamBroker

from ops.bench.peers.setting import EACH, PROCESSES, REDIS_URL, become, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

broker = RedisStreamBroker(url=REDIS_URL, consumer_id="0")  # from the first message on, not from the latest


@broker.task
async def noop(number: int) -> None:
    mark(number)


def prepare() -> None:
    """Nothing to prepare."""


async def enqueue(number: int) -> None:
    await noop.kiq(number)


async def enqueue_bulk(numbers: Sequence[int]) -> None:
    for start in range(0, len(numbers), 100):
        await asyncio.gather(*(noop.kiq(number) for number in numbers[start : start + 100]))


def work() -> None:
    become(
        "taskiq", "worker", "ops.bench.peers.taskiq:broker", "--workers", str(PROCESSES),
        "--max-async-tasks", str(EACH), "--no-parse", "--log-level", "WARNING",
    )  # fmt: skip
