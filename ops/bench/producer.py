"""The producer of every system, in that system's own environment: `python -m ops.bench.producer PEER VERB OPTIONS`.

Prints one line of JSON: what it measured. Whatever the system, the loops and the clock are these.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import random
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ops.bench import stamps

if TYPE_CHECKING:
    from collections.abc import Callable

_GIVE_UP = 30.0
"""Seconds without one job started after which a steady producer ends."""


class Producer:
    def __init__(self, peer: Any) -> None:
        self._one, self._bulk = peer.enqueue, peer.enqueue_bulk
        self._called = stamps.opened(stamps.CALLED)
        self._started = stamps.opened(stamps.STARTED)

    async def one(self, first: int, count: int) -> dict[str, float]:
        """Enqueue one by one. The first opens connections and is not timed."""
        await _done(self._one(first))
        timer = Timer()
        for number in range(first + 1, first + count):
            await _done(self._one(number))
        return timer.per_job(count - 1)

    async def bulk(self, first: int, count: int, chunk: int) -> dict[str, float]:
        """Enqueue in chunks. The first job opens connections and is not timed."""
        await _done(self._one(first))
        timer = Timer()
        for start in range(first + 1, first + count, chunk):
            await _done(self._bulk(range(start, min(start + chunk, first + count))))
        return timer.per_job(count - 1)

    async def idle(self, first: int, count: int, gap: float) -> dict[str, float]:
        """Enqueue so rarely that everything is at rest in between, at uneven times so that no polling keeps step."""
        timer = Timer()
        for number in range(first, first + count):
            self._called.stamp(number)
            await _done(self._one(number))
            await asyncio.sleep(gap * random.uniform(0.5, 1.5))
        return timer.per_job(count)

    async def paced(self, first: int, count: int, rate: float) -> dict[str, float]:
        """Enqueue at a fixed rate; one that cannot keep up does its best, and the rate it reached is told."""
        timer = Timer()
        for number in range(first, first + count):
            early = timer.begun + (number - first) / rate - time.monotonic()
            if early > 0:
                await asyncio.sleep(early)
            self._called.stamp(number)
            await _done(self._one(number))
        return timer.per_job(count)

    async def steady(self, first: int, most: int, chunk: int, ahead: int, seconds: float) -> dict[str, float]:
        """Enqueue in chunks as fast as jobs are run, never more than `ahead` of the worker."""
        timer = Timer()
        made, ran, progress = 0, 0, timer.begun
        while made < most and timer.elapsed < seconds and time.monotonic() - progress < _GIVE_UP:
            ran_now = self._ran(first, ran, made)
            if ran_now > ran:
                ran, progress = ran_now, time.monotonic()
            if made - ran >= ahead:
                await asyncio.sleep(0.001)
                continue
            await _done(self._bulk(range(first + made, first + min(made + chunk, most))))
            made = min(made + chunk, most)
        return {**timer.per_job(made), "made": made, "ended_ns": time.monotonic_ns()}

    def _ran(self, first: int, known: int, made: int) -> int:
        """Say how many have run; all before `known` are taken for granted, less a margin for those out of order."""
        margin = max(known - 2000, 0)
        return made - self._started.missing(first + margin, made - margin)


class Timer:
    def __init__(self) -> None:
        self.begun, self._cpu = time.monotonic(), time.process_time()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.begun

    def per_job(self, count: int) -> dict[str, float]:
        seconds, cpu = self.elapsed, time.process_time() - self._cpu
        return {"per_s": count / seconds, "cpu_us": cpu / max(count, 1) * 1e6, "seconds": seconds}


async def _done(result: Any) -> None:
    if inspect.isawaitable(result):
        await result


def _run(function: Callable[..., Any], **options: Any) -> Any:
    if not inspect.iscoroutinefunction(function):
        return function(**options)
    try:
        import uvloop  # noqa: PLC0415 — in the environments of the systems that advise it
    except ImportError:
        return asyncio.run(function(**options))
    return uvloop.run(function(**options))


def main(name: str, verb: str, options: str = "{}") -> None:
    peer = import_module(f"ops.bench.peers.{name}")
    if verb in {"prepare", "work"}:
        _run(getattr(peer, verb))
        return
    print(json.dumps(_run(getattr(Producer(peer), verb), **json.loads(options))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
