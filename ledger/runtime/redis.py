"""Connections to Redis: bounded waits, and never a command sent twice behind our back.

Client libraries like to repeat a command whose answer was lost; a repeated XADD is a second message. Here nothing is
repeated: a connection error comes out, and the caller, who knows what it means, decides.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from ledger.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from redis.connection import AbstractConnection

Redis = redis.Redis

TRANSIENT = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
)
"""What goes away by itself: Redis is gone, starting, a replica just now, or full. The one list of it."""

_REFUSALS = ("MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "BUSY ")
"""How answers begin that the driver knows no class for: a Redis that cannot save, has lost its replicas or its master,
or is held up by a script. They go away by themselves, too."""


def connect(
    url: str,
    *,
    longest_block: float = 0.0,
    patience: float = 5.0,
    name: str = "ledger",
    on_connect: Callable[[], None] | None = None,
) -> Redis:
    """Return a client for this server, connected at its first command. Answers are bytes.

    `longest_block`: seconds for which a command of this client may block on the server by design; `patience`: seconds
    that any other answer may take. `on_connect` is called after each new connection, of which the client otherwise says
    nothing: there may be another server at the other end.
    """

    def connected(connection: AbstractConnection) -> None:
        connection.on_connect()
        assert on_connect is not None
        on_connect()

    return redis.Redis.from_url(
        url,
        socket_connect_timeout=min(2.0, patience),
        socket_timeout=patience + longest_block,
        socket_keepalive=True,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
        client_name=name,
        redis_connect_func=None if on_connect is None else connected,
    )


def send_all(client: Redis, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Send commands in one go and return their answers, refusals among them: a pipeline without its layers."""
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        return _ask(connection, commands)
    finally:
        pool.release(connection)


LONG_UNUSED = 5.0
"""Seconds after which a connection is looked at before it is used: Redis may have ended it, or what is in between."""


class Script:
    """A script in Lua, known to Redis by its digest. Its arguments: how many keys, the keys, and the rest."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.digest = hashlib.sha1(text, usedforsecurity=False).hexdigest()


class Line:
    """A connection for one thread at a time, for commands sent in one go: the driver's way through its layers takes
    longer than Redis does.
    """

    def __init__(self, client: Redis) -> None:
        self._connection: Any = client.connection_pool.make_connection()
        self._used_at = time.monotonic()

    def ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the answers, refusals among them."""
        if time.monotonic() - self._used_at > LONG_UNUSED:
            self._renew()
        answers = _ask(self._connection, commands)
        self._used_at = time.monotonic()
        return answers

    def call(self, *command: Any) -> Any:
        """Return the answer to one command; raise what it was refused with."""
        (answer,) = self.ask([command])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def run(self, script: Script, *arguments: Any) -> Any:
        """Return what a script answers; it is sent whole where Redis does not know it."""
        try:
            return self.call("EVALSHA", script.digest, *arguments)
        except exceptions.NoScriptError:
            return self.call("EVAL", script.text, *arguments)

    def _renew(self) -> None:
        """Let go of a connection that the other side has ended meanwhile; the next command makes another."""
        try:
            has_ended = self._connection.can_read(0)
        except (*TRANSIENT, OSError):
            has_ended = True
        if has_ended:
            self._connection.disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.disconnect()


def _ask(connection: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        return [_answer(connection) for _ in commands]
    except BaseException:
        connection.disconnect()  # what was not read would be taken for the answer to something else
        raise


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except exceptions.ResponseError as refusal:
        return refusal


@contextmanager
def reachable(client: Redis) -> Generator[None]:
    """Turn connection errors into Unavailable, with the server named and the password left out."""
    try:
        yield
    except TRANSIENT as error:
        raise Unavailable(f"Redis at {describe(client)} cannot be used: {error}") from error
    except exceptions.ResponseError as error:
        if not str(error).startswith(_REFUSALS):
            raise
        raise Unavailable(f"Redis at {describe(client)} cannot be used: {error}") from error


def describe(client: Redis) -> str:
    options = client.connection_pool.connection_kwargs
    return (
        options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}/{options.get('db', 0)}"
    )
