"""Ledger: threads, or the event loop for coroutine handlers; the shipped middleware."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ledger import Ledger
from ops.bench import allocations
from ops.bench.peers.setting import EACH, MODE, PROCESSES, become, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

IN_FLIGHT = 500

allocations.count_if_asked(Path(os.environ["BENCH_STAMPS"]) / allocations.FILE)

ledger = Ledger()


@ledger.job("bench.noop")
def noop(number: int) -> None:
    mark(number)


@ledger.job("bench.anoop")
async def anoop(number: int) -> None:
    mark(number)


_JOB = noop if MODE in {"plain", "two"} else anoop


def prepare() -> None:
    become("ledger", "db", "migrate")


def enqueue(number: int) -> None:
    _JOB.enqueue(number=number)


def enqueue_bulk(numbers: Sequence[int]) -> None:
    ledger.enqueue_many([{"type": _JOB.type, "payload": {"number": number}} for number in numbers])


def work() -> None:
    concurrency = IN_FLIGHT if MODE == "many" else EACH
    become(
        "ledger", "worker", "ops.bench.peers.ledger:ledger",
        "--concurrency", str(concurrency), "--processes", str(PROCESSES),
    )  # fmt: skip
