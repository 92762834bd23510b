"""A series of jobs on the event loop, which take the place of one thread: as each ends, the next one begins there.

The layers around a handler are plain functions, and the innermost has to wait for a coroutine. So each job is a task
that runs those layers in a greenlet: when they come to the handler they hand its awaitable to the task, and go on with
what came of it.
"""

from __future__ import annotations

import asyncio
import os
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ledger_workers.leases import Run

    Work = Callable[[Run], None]
    """One job from beginning to end; never raises."""
    Following = Callable[[], tuple[Run | None, bool]]
    """The next run that waits for a thread, if there is one, and whether it may run on the loop."""


class Series:
    """Runs jobs on the loop until there is none for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Work, following: Following) -> None:
        self._loop = loop
        self._work = work
        self._following = following
        self._rest: SimpleQueue[Run | None] = SimpleQueue()

    def wait_for(self, first: Run) -> Run | None:
        """Begin, and wait in this thread for the end; return the run that is none for the loop."""
        self._loop.call_soon_threadsafe(self._begin, first)
        return self._rest.get()

    def _begin(self, run: Run) -> None:
        self._loop.create_task(_job(self._work, run)).add_done_callback(self._go_on)

    def _go_on(self, _: asyncio.Task[None]) -> None:
        run, is_for_the_loop = self._following()
        if run is not None and is_for_the_loop:
            self._begin(run)
        else:
            self._rest.put(run)


def awaited(loop: asyncio.AbstractEventLoop, awaitable: Awaitable[Any], run: Run) -> Any:
    """Return what the awaitable returns or raise what it raises, from inside of a job's greenlet."""
    task, fiber = asyncio.current_task(loop), getcurrent().parent
    assert task is not None
    assert fiber is not None
    run.stop = lambda: None if loop.is_closed() else loop.call_soon_threadsafe(task.cancel) and None
    run.awaited = awaitable
    if run.job.cancelled:
        task.cancel()
    try:
        return fiber.switch(awaitable)
    finally:
        run.stop = run.awaited = None


async def _job(work: Work, run: Run) -> None:
    fiber = greenlet(work)
    fiber.gr_context = getcurrent().gr_context  # what the layers set in it, the handler finds
    pid = os.getpid()
    awaitable = fiber.switch(run)
    while not fiber.dead:
        try:
            try:
                value = await awaitable
            finally:
                if os.getpid() != pid:
                    os._exit(0)  # the handler forked, and its child came back as if it were the worker
        except BaseException as error:  # noqa: BLE001 — whatever it is belongs to this job; the loop must not see it
            awaitable = fiber.throw(type(error), error, error.__traceback__)
        else:
            awaitable = fiber.switch(value)
