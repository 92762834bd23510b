"""pgqueuer: asyncpg; batches of 5 with a cap of 10, or (`many`) batches of 100 without a cap."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job  # noqa: TC002 — the entrypoint's annotations are read at run time
from pgqueuer.queries import Queries

from ops.bench.peers.setting import CONCURRENCY, DATABASE_URL, MODE, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

_producer: list[Queries] = []


async def prepare() -> None:
    await (await _queries()).install()


async def enqueue(number: int) -> None:
    await (await _queries()).enqueue("noop", b"%d" % number)


async def enqueue_bulk(numbers: Sequence[int]) -> None:
    payloads: list[bytes | None] = [b"%d" % number for number in numbers]
    await (await _queries()).enqueue(["noop"] * len(payloads), payloads, [0] * len(payloads))


async def work() -> None:
    """Run the manager as `pgq run` does; that command itself fails to start with the typer it comes with today."""
    connection = await asyncpg.connect(DATABASE_URL)
    app = PgQueuer(AsyncpgDriver(connection))

    @app.entrypoint("noop")
    async def noop(job: Job) -> None:
        mark(int(job.payload or b"0"))

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, app.shutdown.set)
    if MODE == "many":
        await app.run(batch_size=100)
    else:
        await app.run(batch_size=5, max_concurrent_tasks=CONCURRENCY)


async def _queries() -> Queries:
    if not _producer:
        _producer.append(Queries(AsyncpgDriver(await asyncpg.connect(DATABASE_URL))))
    return _producer[0]
