"""Connections to Postgres: one pool a process, every wait bounded, nothing that a pooler in transaction mode would
break.

Session state is never relied upon: no LISTEN, no session locks, no SET outside a transaction. The time-outs below end a
call to a server that has silently gone: keepalives for a connection that waits, `tcp_user_timeout` for one with data in
flight.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import conninfo
from psycopg.errors import LockNotAvailable, ReadOnlySqlTransaction
from psycopg_pool import ConnectionPool, PoolTimeout

from ledger.errors import Unavailable
from ledger.runtime import deadline

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg import Connection
    from psycopg.rows import TupleRow

TRANSIENT = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, ReadOnlySqlTransaction)
"""What goes away by itself: the server is gone, restarting, full, overloaded, or only a standby. The one list of it."""

_TIMEOUTS = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_POOL_WAIT = 10.0
_TO_CLOSE = 0.5
"""Seconds for each of the pool's threads, which may be waiting for a server that does not answer."""
_LOOK_AGAIN = 0.25
"""How soon who waits for a connection learns that none can be made: the pool itself would let them wait to the end."""


class Database:
    """A pool of connections to the log's database. Opens none until the first is needed; safe to share by threads, and
    begun anew in a forked child, which must not talk on its parent's connections.
    """

    def __init__(self, url: str, *, size: int = 10, name: str = "ledger") -> None:
        self.url = url
        self.size = size
        self._name = name
        self._failed_at = float("-inf")
        self._pool = self._new_pool()
        self._opened: object = None
        self._parents: list[object] = []
        """Pools of the processes we were forked from: kept, for to let go of one is to touch it."""
        self._forking = threading.Lock()
        self._pid = os.getpid()

    @contextmanager
    def connection(self) -> Generator[Connection[TupleRow]]:
        """Lend a connection in autocommit mode; raise Unavailable when Postgres cannot be reached or goes away.

        Inside, `with connection.transaction()` groups statements.
        """
        if self._pid != os.getpid():
            self._begin_anew()
        if self._pool is not self._opened:
            self._pool.open()
            self._opened = self._pool
        with reachable(self.url):
            connection = self._take()
            try:
                with deadline.watch(connection):
                    yield connection
            except ReadOnlySqlTransaction:
                connection.close()  # this server is a standby by now: the next connection may find the primary
                raise
            finally:
                if connection.closed:
                    self._pool.drain()  # what broke this one (a restart, mostly) broke the idle ones as well
                self._pool.putconn(connection)

    def dedicated(self) -> Connection[TupleRow]:
        """Open a connection that its caller keeps for good and closes: for the loops that never stop."""
        with reachable(self.url):
            return psycopg.connect(self.url, autocommit=True, **defaults(self.url, self._name))

    def close(self) -> None:
        self._pool.close(timeout=_TO_CLOSE)

    def _new_pool(self) -> ConnectionPool[Connection[TupleRow]]:
        return ConnectionPool(
            self.url,
            min_size=0,
            max_size=self.size,
            kwargs={**defaults(self.url, self._name), "autocommit": True},
            reconnect_timeout=0,
            max_idle=120,
            open=False,
            name=self._name,
            reconnect_failed=self._note_failure,
        )

    def _begin_anew(self) -> None:
        with self._forking:
            if self._pid != os.getpid():
                self._parents.append(self._pool)
                self._pool = self._new_pool()
                self._pid = os.getpid()

    def _take(self) -> Connection[TupleRow]:
        """Wait for a free connection, but not for a server that does not answer."""
        began = time.monotonic()
        while True:
            try:
                return self._pool.getconn(timeout=_LOOK_AGAIN)
            except PoolTimeout:
                if self._failed_at > began:
                    raise PoolTimeout("nobody answers there") from None
                if deadline.remaining() == 0:
                    raise PoolTimeout("the time limit passed while waiting for a connection") from None
                if time.monotonic() - began > _POOL_WAIT:
                    raise PoolTimeout(
                        f"all {self.size} connections are in use; DATABASE_POOL_SIZE allows more"
                    ) from None

    def _note_failure(self, _: object) -> None:
        self._failed_at = time.monotonic()


class reachable:  # noqa: N801 — reads as the verb it is, like contextlib's
    """Turns the driver's connection errors into Unavailable, with the server named and the password left out."""

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # A lock time-out is an operational error by class, but the server is well: the caller decides.
        if error is None or isinstance(error, LockNotAvailable):
            return
        # SQLAlchemy wraps the driver's error; ours must come out the same whoever called.
        cause = error if isinstance(error, TRANSIENT) else getattr(error, "orig", None)
        if isinstance(cause, TRANSIENT):
            raise Unavailable(f"Postgres at {describe(self._url)} cannot be used: {_first_line(cause)}") from error


def defaults(url: str, name: str) -> dict[str, Any]:
    """Return the connection parameters that the URL leaves open, and the one that it may not set."""
    given = conninfo.conninfo_to_dict(url)
    wanted: dict[str, Any] = {**_TIMEOUTS, "application_name": name}
    # What goes past the driver is UTF-8, whatever the environment or the database would have.
    return {key: value for key, value in wanted.items() if key not in given} | {"client_encoding": "UTF8"}


def describe(url: str) -> str:
    """Return host, port and database of a URL, for messages; never the password."""
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return "an unreadable DATABASE_URL"
    return f"{given.get('host') or 'the local socket'}:{given.get('port') or 5432}/{given.get('dbname') or ''}"


def sqlalchemy_url(url: str) -> str:
    """Return the URL in the spelling that makes SQLAlchemy use psycopg 3. It wants several hosts, of which libpq takes
    the one it can use, among the parameters.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres"):
        return url
    place, _, path = rest.partition("/")
    user, at, hosts = place.rpartition("@")
    if "," in hosts:
        several = "&".join(f"host={host}" for host in hosts.split(","))
        rest = f"{user}{at}/{path}{'&' if '?' in path else '?'}{several}"
    return f"postgresql+psycopg://{rest}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
