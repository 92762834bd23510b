"""RQ: Redis; a pool of workers that run jobs in their own process (SimpleWorker), results not kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis import Redis
from rq import Queue

from ops.bench.peers.setting import CONCURRENCY, REDIS_URL, become, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

_queue = Queue("default", connection=Redis.from_url(REDIS_URL))


def noop(number: int) -> None:
    mark(number)


def prepare() -> None:
    """Nothing to prepare."""


def enqueue(number: int) -> None:
    _queue.enqueue(noop, number, result_ttl=0)


def enqueue_bulk(numbers: Sequence[int]) -> None:
    _queue.enqueue_many([Queue.prepare_data(noop, (number,), result_ttl=0) for number in numbers])


def work() -> None:
    become(
        "rq", "worker-pool", "default", "--num-workers", str(CONCURRENCY), "--worker-class", "rq.SimpleWorker",
        "--url", REDIS_URL, "--quiet", "--logging-level", "WARNING",
    )  # fmt: skip
