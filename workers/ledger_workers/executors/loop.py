"""The event loop on which `async def` handlers run: one thread for all of them, started when the first one comes.

Nothing a handler does ends it: who stops the loop, or raises SystemExit in a task of its own, finds it turning again.
Whole jobs run there (`ledger_workers.executors.series`), but where the application has middleware of its own, which may
block: then its layers run in a thread, which waits for the handler on the loop.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from ledger_workers.executors.series import Series, awaited, undoubled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from ledger_workers.executors.series import Following, Work
    from ledger_workers.leases import Run


_TO_CANCEL = 1.0


class LoopThread:
    """Runs whole jobs, or awaitables for threads. Safe to share by them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._series: Series
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def begin(self, runs: Sequence[Run], work: Work, following: Following) -> None:
        """Do `work` on the loop, for each of these runs and then for those that `following` gives; returns at once."""
        loop = self._started()
        _call(loop, self._series.begin, runs, work, following)

    def run(self, awaitable: Awaitable[Any], run: Run) -> Any:
        """Return what the awaitable returns or raise what it raises; `run.stop` cancels it."""
        loop = self._started()
        if threading.current_thread() is self._thread:
            return awaited(loop, awaitable, run)
        result: Future[Any] = Future()

        def begin() -> None:
            task = loop.create_task(_settle(awaitable, result))
            task.add_done_callback(lambda _: result.done() or result.set_exception(asyncio.CancelledError()))
            run.stop = lambda: _call(loop, task.cancel)
            if run.job.cancelled:
                task.cancel()

        run.awaited = awaitable
        loop.call_soon_threadsafe(begin, context=copy_context())
        try:
            return result.result()
        finally:
            run.stop = run.awaited = None

    def close(self) -> None:
        """Cancel what still runs, and end."""
        if self._loop is not None and self._thread is not None:
            self._closing.set()
            _call(self._loop, self._loop.stop)
            self._thread.join(_TO_CANCEL)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._series = Series(self._loop)
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop, self._closing), name="async handlers", daemon=True
                )
                self._thread.start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop, closing: threading.Event) -> None:
    try:
        while not closing.is_set():
            # What a task raises that is meant to end a process comes out here; the task has it too.
            with suppress(BaseException):
                loop.run_forever()
        if left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left))
    finally:
        loop.close()


async def _settle(awaitable: Awaitable[Any], result: Future[Any]) -> None:
    # What a handler raises belongs to its job alone: a SystemExit that reached the loop would end it for all.
    try:
        value = await undoubled(awaitable)
    except BaseException as error:  # noqa: BLE001
        result.set_exception(error)
    else:
        result.set_result(value)


def _call(loop: asyncio.AbstractEventLoop, function: Any, *arguments: Any) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, *arguments)
