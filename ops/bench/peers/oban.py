"""Oban for Python: psycopg, event loop; needs Python 3.12."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oban import Oban, worker
from oban.schema import install
from psycopg_pool import AsyncConnectionPool

from ops.bench.peers.setting import CONCURRENCY, DATABASE_URL, become, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oban.job import Job

_client: list[Oban] = []


@worker(queue="default")
class Noop:
    async def process(self, job: Job) -> None:
        mark(job.args["number"])


async def prepare() -> None:
    async with AsyncConnectionPool(DATABASE_URL, open=False) as pool:
        await install(pool)


async def enqueue(number: int) -> None:
    await (await _oban()).enqueue(Noop.new({"number": number}))


async def enqueue_bulk(numbers: Sequence[int]) -> None:
    await (await _oban()).enqueue_many([Noop.new({"number": number}) for number in numbers])


def work() -> None:
    become(
        "oban", "start", "--dsn", DATABASE_URL, "--queues", f"default:{CONCURRENCY}", "--log-level", "warning",
    )  # fmt: skip


async def _oban() -> Oban:
    if not _client:
        pool = AsyncConnectionPool(DATABASE_URL, open=False)
        await pool.open()
        _client.append(Oban(pool=pool))
    return _client[0]
