"""The one best-effort PUBLISH that tells dispatchers to look at once, and the ear for it.

Nothing waits for it and nothing depends on it: a thread of its own publishes, many wakes become one, and while Redis is
away it is tried now and then. Who misses it finds the event by polling a few milliseconds later.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from ledger import keys
from ledger.runtime import redis

if TYPE_CHECKING:
    from collections.abc import Callable

_PAUSE = 0.005
"""Between two calls: the first is made at once, and who commits a thousand times a second needs no thousand calls."""
_PAUSE_WHEN_DOWN = 1.0
_TO_END = 1.0
_LISTEN_FOR = 0.5
"""Seconds within which a listener notices that it is to stop."""


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


def listen(redis_url: str, stop: threading.Event, wake: Callable[[], None], *, pause: float = 0.0) -> threading.Thread:
    """Call `wake` whenever somebody publishes, until `stop` is set; at most once in `pause` seconds.

    Returns the thread that listens. While Redis is away nobody is woken: whoever uses Redis says so.
    """
    thread = threading.Thread(target=_listen, args=(redis_url, stop, wake, pause), name="ear", daemon=True)
    thread.start()
    return thread


def _listen(redis_url: str, stop: threading.Event, wake: Callable[[], None], pause: float) -> None:
    client = redis.connect(redis_url, longest_block=_LISTEN_FOR, name="ledger-ear")
    while not stop.is_set():
        try:
            with client.pubsub(ignore_subscribe_messages=True) as channel:
                channel.subscribe(keys.WAKE)
                while not stop.is_set():
                    if channel.get_message(timeout=_LISTEN_FOR) is None:
                        continue
                    wake()
                    if pause and not stop.wait(pause):
                        while channel.get_message() is not None:
                            pass
        except redis.TRANSIENT:
            stop.wait(_PAUSE_WHEN_DOWN)
    client.close()
