"""Celery: Redis, prefork; results ignored, gossip, mingle and heartbeat off, as its documentation advises for speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery import Celery

from ops.bench.peers.setting import CONCURRENCY, REDIS_URL, become, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

app = Celery("bench", broker=REDIS_URL)
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=4, broker_connection_retry_on_startup=True)


@app.task(name="noop")
def noop(number: int) -> None:
    mark(number)


def prepare() -> None:
    """Nothing to prepare."""


def enqueue(number: int) -> None:
    noop.delay(number)


def enqueue_bulk(numbers: Sequence[int]) -> None:
    with app.producer_pool.acquire(block=True) as producer:
        for number in numbers:
            noop.apply_async((number,), producer=producer)


def work() -> None:
    become(
        "celery", "-A", "ops.bench.peers.celery", "worker", "--pool", "prefork", "--concurrency", str(CONCURRENCY),
        "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING",
    )  # fmt: skip
