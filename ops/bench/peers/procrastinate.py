"""Procrastinate: psycopg, event loop; ended jobs are kept, as is its default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procrastinate import App, PsycopgConnector

from ops.bench.peers.setting import CONCURRENCY, DATABASE_URL, become, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

app = App(connector=PsycopgConnector(conninfo=DATABASE_URL))
_opened: list[bool] = []


@app.task(name="noop")
async def noop(number: int) -> None:
    mark(number)


async def prepare() -> None:
    await _open()
    await app.schema_manager.apply_schema_async()
    await app.close_async()


async def enqueue(number: int) -> None:
    await _open()
    await noop.defer_async(number=number)


async def enqueue_bulk(numbers: Sequence[int]) -> None:
    await _open()
    await noop.batch_defer_async(*({"number": number} for number in numbers))


def work() -> None:
    become("procrastinate", "--app", "ops.bench.peers.procrastinate.app", "worker", "--concurrency", str(CONCURRENCY))


async def _open() -> None:
    if not _opened:
        await app.open_async()
        _opened.append(True)
