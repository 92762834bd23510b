"""What a client tells Redis about a commit, best effort, and the ear for it.

A job that is ready gets its message at once, from the client that made it, and the dispatchers are told so; anything
else is told them as a PUBLISH without words, and they look into the log. Nothing waits for either and nothing depends
on it: a thread of its own does it, much that comes at once is one call, and while Redis is away it is tried now and
then. Who misses it finds the event by polling. A message twice is refused by the log, and one that Redis has lost is
put there again by the dispatcher's own means: to have been told of a message is no more than to have added it.

Jobs run in the order in which they became ready, so a message must not overtake what the dispatcher is still to bring:
a large batch, or what a caller's open transaction holds. So such a queue is held for a moment; meanwhile all of it
goes by way of the log.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from importlib.resources import files
from math import inf
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from ledger import keys
from ledger.runtime import redis

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from ledger.events import Priority

MOST_BY_HAND = 100
"""Messages that a client adds at a time; more are quicker by way of the dispatcher."""
HELD_FOR = 1000
"""Milliseconds for which a queue's messages all come from the dispatcher, after something that only it can bring."""

_PAUSE = 0.005
"""Between two calls: the first is made at once, and who commits a thousand times a second needs no thousand calls."""
_PAUSE_WHEN_DOWN = 1.0
_REFUSED_FOR = 60.0
"""Seconds for which nothing but the wake-up call is made after Redis has refused more, as its ACL may."""
_TO_END = 1.0
_LISTEN_FOR = 30.0
"""Seconds that a listener waits for a message at a time."""

_ADD = files("ledger").joinpath("lua", "add_ready.lua").read_bytes()


class News(NamedTuple):
    """A job that has become ready at `version`, for its `attempt`-th run."""

    queue: str
    priority: Priority
    job_id: UUID
    version: int
    attempt: int
    type: str


class Waker:
    """Wakes the dispatchers. Safe to share by threads; starts anew in a forked child, and after `close`."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._lock = threading.Lock()
        self._publisher: _Publisher | None = None
        self._pid = 0

    def wake(self, *held: str) -> None:
        """Ask for a look; returns at once, never raises. `held`: queues in which nothing may overtake what is found."""
        self._tell(held)

    def ready(self, news: News) -> None:
        """Bring a job's message, after the commit that made it ready; returns at once, never raises."""
        self._tell(news)

    def close(self) -> None:
        """Tell what there is to tell, if that is quickly done, and end the thread."""
        with self._lock:
            publisher, self._publisher = self._publisher, None
        if publisher is not None and self._pid == os.getpid():
            publisher.end()

    def _tell(self, what: News | tuple[str, ...]) -> None:
        publisher = self._publisher
        if publisher is None or self._pid != os.getpid():
            publisher = self._start()
        publisher.told.put(what)

    def _start(self) -> _Publisher:
        with self._lock:
            if self._publisher is None or self._pid != os.getpid():
                self._publisher = _Publisher(self._url)
                self._pid = os.getpid()
            return self._publisher


class _Publisher:
    """The thread that tells Redis, and what it is told."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.told: SimpleQueue[News | tuple[str, ...] | None] = SimpleQueue()
        self._over = threading.Event()
        self._refused_until = -inf
        self._thread = threading.Thread(target=self._run, name="wake", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self.told.put(None)
        self._thread.join(_TO_END)

    def _run(self) -> None:
        with redis.connect(self._url, name="ledger-wake") as client, redis.Line(client) as line:
            while not self._over.is_set() or not self.told.empty():
                news, queues = self._gathered()
                if news or queues is not None:
                    self._over.wait(self._send(line, news, queues))

    def _gathered(self) -> tuple[list[News], set[str] | None]:
        """Wait for something to tell; return the messages, and which queues to hold where dispatchers are to look."""
        news: list[News] = []
        queues: set[str] | None = None
        with suppress(Empty):
            told = self.told.get()
            while True:
                if isinstance(told, News):
                    news.append(told)
                elif told is not None:
                    queues = (queues or set()).union(told)
                told = self.told.get_nowait()
        if len(news) <= MOST_BY_HAND and time.monotonic() >= self._refused_until:
            return news, queues
        return [], (queues or set()).union(each.queue for each in news)

    def _send(self, line: redis.Line, news: Sequence[News], queues: set[str] | None) -> float:
        """Return for how many seconds not to do it again."""
        try:
            answers = line.ask(_commands(news, queues))
        except redis.TRANSIENT:
            return _PAUSE_WHEN_DOWN
        if any(isinstance(answer, Exception) for answer in answers):
            self._refused_until = time.monotonic() + _REFUSED_FOR
            if news:
                self.told.put(())  # what was not added is for the dispatchers to find
        return _PAUSE


def hold(queue: str) -> tuple[Any, ...]:
    """Return the command that leaves a queue to the dispatcher for a moment."""
    return ("SET", keys.hold(queue), b"", "PX", HELD_FOR)


def _commands(news: Sequence[News], queues: set[str] | None) -> list[tuple[Any, ...]]:
    commands = [hold(queue) for queue in sorted(queues or ())]
    streams: dict[tuple[str, str], list[Any]] = {}
    for each in news:
        place = keys.stream(each.queue, each.priority), keys.hold(each.queue)
        streams.setdefault(place, []).extend((str(each.job_id), each.version, each.attempt, each.type))
    commands += [("EVAL", _ADD, 2, *place, keys.TOLD, keys.WAKE, *messages) for place, messages in streams.items()]
    if queues is not None:
        commands.append(("PUBLISH", keys.WAKE, b""))
    return commands


class Ear:
    """Calls `wake` when somebody asks for a look, at most once in `pause` seconds, until `close`.

    While Redis is away nobody is woken: whoever uses Redis says so.
    """

    def __init__(self, redis_url: str, stop: threading.Event, wake: Callable[[], None], *, pause: float = 0.0) -> None:
        self._client = redis.connect(redis_url, longest_block=_LISTEN_FOR, name="ledger-ear")
        self._stop = stop
        self._wake = wake
        self._pause = pause
        self._channel: Any = None
        self._thread = threading.Thread(target=self._run, name="ear", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, whose wait ends with its connection. `stop` is set before."""
        # Not closed, which would take it from under the driver's hands: who waits at its end sees it end.
        line = getattr(self._channel and self._channel.connection, "_sock", None)
        with suppress(OSError):
            if line is not None:
                line.shutdown(socket.SHUT_RDWR)
        self._thread.join(_TO_END)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except redis.TRANSIENT:
                self._stop.wait(_PAUSE_WHEN_DOWN)
        self._client.close()

    def _listen(self) -> None:
        with self._client.pubsub(ignore_subscribe_messages=True) as channel:
            self._channel = channel
            channel.subscribe(keys.WAKE)
            while not self._stop.is_set():
                message = channel.get_message(timeout=_LISTEN_FOR)
                if message is None or message["data"]:  # a client of an older version says here what it has added
                    continue
                self._wake()
                if self._pause and not self._stop.wait(self._pause):
                    while channel.get_message() is not None:
                        pass
