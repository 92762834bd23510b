"""The one best-effort PUBLISH that tells dispatchers to look at once.

Nothing waits for it and nothing depends on it: a thread of its own publishes, many wakes become one, and while Redis is
away it is tried now and then. Who misses it finds the event by polling a few milliseconds later.
"""

from __future__ import annotations

import os
import threading

from ledger import keys
from ledger.runtime import redis

_PAUSE = 0.005
"""Between two calls: the first is made at once, and who commits a thousand times a second needs no thousand calls."""
_PAUSE_WHEN_DOWN = 1.0


class Waker:
    """Wakes the dispatchers. Safe to share by threads; starts anew in a forked child."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._wanted = threading.Event()
        self._lock = threading.Lock()
        self._pid = 0

    def wake(self) -> None:
        """Ask for a look; returns at once, never raises."""
        if self._pid != os.getpid():
            self._start()
        self._wanted.set()

    def _start(self) -> None:
        with self._lock:
            if self._pid == os.getpid():
                return
            self._wanted = threading.Event()
            self._pid = os.getpid()
            threading.Thread(target=self._publish, args=(self._wanted,), name="wake", daemon=True).start()

    def _publish(self, wanted: threading.Event) -> None:
        client = redis.connect(self._url, name="ledger-wake")
        never = threading.Event()
        while True:
            wanted.wait()
            wanted.clear()
            try:
                client.publish(keys.WAKE, b"")
                never.wait(_PAUSE)
            except redis.TRANSIENT:
                never.wait(_PAUSE_WHEN_DOWN)
