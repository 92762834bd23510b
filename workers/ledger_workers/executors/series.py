"""Whole jobs on the event loop: as each ends, the next one begins there in its place.

The layers around a handler are plain functions, and the innermost has to wait for a coroutine. So each job is a task
that runs those layers in a greenlet: when they come to the handler they hand its awaitable to the task, and go on with
what came of it.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ledger_workers.leases import Run

    Work = Callable[[Run], None]
    """One job from beginning to end; never raises."""
    Following = Callable[[], Run | None]
    """The next run that may take the place of one that has ended, if there is one for the loop."""


def begin(loop: asyncio.AbstractEventLoop, runs: Sequence[Run], work: Work, following: Following) -> None:
    """Begin these jobs on the loop, whose thread calls, and after each whatever `following` gives."""

    def go_on(_: asyncio.Task[None]) -> None:
        run = following()
        if run is not None:
            start(run)

    def start(run: Run) -> None:
        loop.create_task(_job(work, run)).add_done_callback(go_on)

    for run in runs:
        start(run)


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
