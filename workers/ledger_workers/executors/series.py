"""Whole jobs on the event loop: as each ends, the next one begins there in its place.

The layers around a handler are plain functions, and the innermost has to wait for a coroutine. So each job is a task
that runs those layers in a greenlet: when they come to the handler they hand its awaitable to the task, and go on with
what came of it. A greenlet does one job after another: to make one costs more than the task does.
"""

from __future__ import annotations

import asyncio
import os
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NoReturn

from greenlet import getcurrent, greenlet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ledger_workers.leases import Run

    Work = Callable[[Run], None]
    """One job from beginning to end; never raises."""
    Following = Callable[[], Run | None]
    """The next run that may take the place of one that has ended, if there is one for the loop."""

_DONE = object()


class Series:
    """The jobs on one loop, by whose thread alone it is called."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle: list[greenlet] = []

    def begin(self, runs: Sequence[Run], work: Work, following: Following) -> None:
        """Begin these jobs, and after each whatever `following` gives."""
        # Each in a context of its own: a job that ends begins the next one.
        context = copy_context()

        async def job(run: Run) -> None:
            try:
                await self._do(work, run)
            finally:
                if (after := following()) is not None:
                    start(after)

        def start(run: Run) -> None:
            context.copy().run(self._loop.create_task, job(run))  # no argument: a task factory may not take it

        for run in runs:
            start(run)

    async def _do(self, work: Work, run: Run) -> None:
        fiber = self._idle.pop() if self._idle else _new()
        fiber.gr_context = getcurrent().gr_context  # what the layers set in it, the handler finds
        awaitable = fiber.switch(work, run)
        while awaitable is not _DONE:
            try:
                value = await undoubled(awaitable)
            except BaseException as error:  # noqa: BLE001 — whatever it is belongs to this job; the loop must not see it
                awaitable = fiber.throw(type(error), error, error.__traceback__)
            else:
                awaitable = fiber.switch(value)
        fiber.gr_context = None
        self._idle.append(fiber)


async def undoubled(awaitable: Awaitable[Any]) -> Any:
    """Await it; where it forked, and its child comes back as if it were the worker, the child ends."""
    pid = os.getpid()
    try:
        return await awaitable
    finally:
        if os.getpid() != pid:
            os._exit(0)


def _new() -> greenlet:
    fiber = greenlet(_turns)
    fiber.switch()  # begun without a job: what a greenlet is begun with it keeps
    return fiber


def _turns() -> NoReturn:
    loop = getcurrent().parent
    assert loop is not None
    while True:
        work, run = loop.switch(_DONE)
        work(run)
        del work, run  # an idle greenlet keeps no job alive


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
