"""arq: Redis, event loop; it polls, so the delay is short, and results are not kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings

from ops.bench.peers.setting import CONCURRENCY, REDIS_URL, become, mark

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_pool: list[ArqRedis] = []


async def noop(_: dict[str, Any], number: int) -> None:
    mark(number)


class WorkerSettings:
    functions: ClassVar[list[Callable[..., Any]]] = [noop]
    redis_settings = RedisSettings.from_dsn(REDIS_URL)
    max_jobs = CONCURRENCY
    poll_delay = 0.01
    keep_result = 0


def prepare() -> None:
    """Nothing to prepare."""


async def enqueue(number: int) -> None:
    await (await _redis()).enqueue_job("noop", number)


async def enqueue_bulk(numbers: Sequence[int]) -> None:
    pool = await _redis()
    for start in range(0, len(numbers), 100):
        await asyncio.gather(*(pool.enqueue_job("noop", number) for number in numbers[start : start + 100]))


def work() -> None:
    become("arq", "ops.bench.peers.arq.WorkerSettings")


async def _redis() -> ArqRedis:
    if not _pool:
        _pool.append(await create_pool(WorkerSettings.redis_settings))
    return _pool[0]
