"""The await twins: every verb of the client with an `a` in front, as thin as a verb can be.

There is one colour of code: the twin runs the synchronous verb, with the same statements, in a worker thread, and takes
the caller's context variables along, so that what a handler enqueues still says which run caused it.

With `connection=` (psycopg's AsyncConnection, SQLAlchemy's AsyncConnection or AsyncSession) the verb still runs in a
thread, but each of its statements is sent back to the caller's event loop and awaited there, on the caller's
connection: commit, rollback and savepoints decide, as ever.

When the awaiting task is cancelled: without `connection=` the verb has its way, since a thread cannot be stopped; give
an idempotency key where it matters. With `connection=` the statement under way is cancelled, no other one follows, and
the cancellation goes on only when nobody uses the connection any more.
"""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import psycopg

from ledger.connections import Lent, Rows, execute_on, of_session, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Threaded")

_MOST_JOINED = 1000
"""More than any process has connections, and each of a caller's carries one call at a time."""


class Threaded(Protocol):
    """What has twins."""

    @property
    def threads(self) -> Threads: ...


class Threads:
    """The threads the twins run their verbs in, started when they are needed; safe after a fork."""

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._pools: dict[bool, ThreadPoolExecutor] = {}
        self._pid = os.getpid()

    async def call(self, verb: Callable[..., R], /, *args: Any, connection: Any = None, **named: Any) -> R:
        """Return what the verb returns or raise what it raises, without blocking the event loop."""
        lent = None if connection is None else _AwaitedConnection(connection)
        if lent is not None:
            named["connection"] = lent
        context = copy_context()
        work: Future[R] = self._pool(joined=lent is not None).submit(context.run, partial(verb, *args, **named))
        done = asyncio.wrap_future(work)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if lent is None:
                done.cancel()
            else:
                await lent.leave(done)
            raise

    def close(self) -> None:
        """End the threads when what they do is done."""
        with self._lock:
            for pool in self._pools.values():
                pool.shutdown(wait=False)
            self._pools = {}

    def _pool(self, *, joined: bool) -> ThreadPoolExecutor:
        # Two: a joined call may wait for a transaction of the caller's, whose next call must not wait for its thread.
        with self._lock:
            if self._pid != os.getpid():
                self._pools, self._pid = {}, os.getpid()
            if joined not in self._pools:
                most = _MOST_JOINED if joined else self._most()
                self._pools[joined] = ThreadPoolExecutor(most, thread_name_prefix="ledger-await")
            return self._pools[joined]


def twin(verb: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], Awaitable[R]]:
    """Return the verb's await twin: a method of the same class with the same parameters."""
    name = verb.__name__

    @wraps(verb)
    async def awaiting(self: S, *args: P.args, **named: P.kwargs) -> R:
        return await self.threads.call(getattr(self, name), *args, **named)

    awaiting.__name__ = f"a{name}"
    awaiting.__qualname__ = f"{verb.__qualname__.removesuffix(name)}a{name}"
    awaiting.__doc__ = f"Do as `{name}` does, without blocking the event loop; `ledger.aio` says how."
    return awaiting


class _AwaitedConnection(Lent):
    """A caller's asynchronous connection as a verb in a thread sees it: statements are awaited on the caller's loop."""

    def __init__(self, given: Any) -> None:
        self._given = given
        self._inner: psycopg.AsyncConnection[Any] | None = None
        self._loop = asyncio.get_running_loop()
        self._left = False
        self._under_way: asyncio.Task[Any] | None = None

    def execute(self, query: bytes, params: Mapping[str, Any] | None = None, *, binary: bool = False) -> Rows:
        answer: Future[Rows] = asyncio.run_coroutine_threadsafe(self._execute(query, params, binary=binary), self._loop)
        return answer.result()

    async def leave(self, done: asyncio.Future[Any]) -> None:
        """Return when the verb has ended and the connection is the caller's alone."""
        self._left = True
        if self._under_way is not None:
            self._under_way.cancel()
        await asyncio.wait([done])
        if not done.cancelled():
            done.exception()  # seen: or asyncio would complain of it

    async def _execute(self, query: bytes, params: Mapping[str, Any] | None, *, binary: bool) -> Rows:
        if self._left:
            raise CancelledError
        self._under_way = asyncio.current_task()
        try:
            if self._inner is None:
                self._inner = await _driver_connection(self._given)
            return await execute_on(self._inner, query, params, binary=binary)
        finally:
            self._under_way = None


async def _driver_connection(connection: Any) -> psycopg.AsyncConnection[Any]:
    if isinstance(connection, psycopg.AsyncConnection):
        return connection
    if not hasattr(connection, "run_sync"):
        raise refusal(connection)
    if (begun := of_session(connection)) is not connection:
        connection = await begun
    inner = getattr(await connection.get_raw_connection(), "driver_connection", None)
    if not isinstance(inner, psycopg.AsyncConnection):
        raise refusal(connection)
    if not connection.in_transaction():
        await connection.begin()
    return inner
