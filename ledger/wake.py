"""The one best-effort PUBLISH that tells dispatchers to look at once, and the ear for it.

Nothing waits for it and nothing depends on it: a thread of its own publishes, many wakes become one, and while Redis is
away it is tried now and then. Who misses it finds the event by polling a few milliseconds later.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ledger import keys
from ledger.runtime import redis

if TYPE_CHECKING:
    from collections.abc import Callable

_PAUSE = 0.005
"""Between two calls: the first is made at once, and who commits a thousand times a second needs no thousand calls."""
_PAUSE_WHEN_DOWN = 1.0
_TO_END = 1.0
_LISTEN_FOR = 30.0
"""Seconds that a listener waits for a message at a time."""


class Waker:
    """Wakes the dispatchers. Safe to share by threads; starts anew in a forked child, and after `close`."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._lock = threading.Lock()
        self._publisher: _Publisher | None = None
        self._pid = 0

    def wake(self) -> None:
        """Ask for a look; returns at once, never raises."""
        publisher = self._publisher
        if publisher is None or self._pid != os.getpid():
            publisher = self._start()
        publisher.ask()

    def close(self) -> None:
        """Publish what was asked for, if that is quickly done, and end the thread."""
        with self._lock:
            publisher, self._publisher = self._publisher, None
        if publisher is not None and self._pid == os.getpid():
            publisher.end()

    def _start(self) -> _Publisher:
        with self._lock:
            if self._publisher is None or self._pid != os.getpid():
                self._publisher = _Publisher(self._url)
                self._pid = os.getpid()
            return self._publisher


class _Publisher:
    """The thread that publishes, and what it is told."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._asked = False
        self._news = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wake", daemon=True)
        self._thread.start()

    def ask(self) -> None:
        self._asked = True
        self._news.set()

    def end(self) -> None:
        self._over.set()
        self._news.set()
        self._thread.join(_TO_END)

    def _run(self) -> None:
        with redis.connect(self._url, name="ledger-wake") as client:
            call = redis.Repeated(client, "PUBLISH", keys.WAKE, b"")
            while self._asked or not self._over.is_set():
                self._news.wait()
                self._news.clear()
                if self._asked:
                    self._asked = False
                    self._over.wait(_publish(call))
            call.close()


def _publish(call: redis.Repeated) -> float:
    """Return for how many seconds not to do it again."""
    try:
        call.send()
    except redis.TRANSIENT:
        return _PAUSE_WHEN_DOWN
    return _PAUSE


class Ear:
    """Calls `wake` whenever somebody publishes, at most once in `pause` seconds, until `close`.

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
                if channel.get_message(timeout=_LISTEN_FOR) is None:
                    continue
                self._wake()
                if self._pause and not self._stop.wait(self._pause):
                    while channel.get_message() is not None:
                        pass
