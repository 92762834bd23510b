"""The doors of an application: its settings, the log, and the wake-up call, each opened when it is first needed.

Nothing connects at import or construction, so a module that declares handlers can be loaded anywhere.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ledger import settings as settings_
from ledger.errors import Unavailable
from ledger.postgres import PostgresLog
from ledger.runtime.database import Database
from ledger.runtime.embedded import running
from ledger.wake import Waker

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import datetime

    from ledger.memory import MemoryLog
    from ledger.settings import Settings
    from ledger.wake import News


class Wakes(Protocol):
    """What tells dispatchers and workers that there may be something to run."""

    def wake(self, *held: str) -> None: ...

    def ready(self, news: News, /) -> None: ...


class Doors:
    """Where Postgres and Redis are: as given, else as the environment says, else the servers of `ledger dev`."""

    def __init__(self, *, database_url: str | None, redis_url: str | None, settings: Settings | None) -> None:
        self._given = {"database_url": database_url, "redis_url": redis_url}
        self._settings = settings
        self._lock = threading.Lock()
        self._log: PostgresLog | MemoryLog | None = None
        self._database: Database | None = None
        self._waker: Wakes | None = None

    @property
    def settings(self) -> Settings:
        if self._settings is None:
            self._settings = settings_.load(**self._given)
        return self._settings

    @property
    def database_url(self) -> str:
        return self._given["database_url"] or self.settings.database_url or _embedded()[0]

    @property
    def redis_url(self) -> str:
        return self._given["redis_url"] or self.settings.redis_url or _embedded()[1]

    @property
    def database(self) -> Database:
        with self._lock:
            if self._database is None:
                self._database = Database(self.database_url, size=self.settings.database_pool_size)
            return self._database

    @property
    def log(self) -> PostgresLog | MemoryLog:
        if self._log is None:
            self._log = PostgresLog(self.database)
        return self._log

    @property
    def waker(self) -> Wakes:
        if self._waker is None:
            self._waker = Waker(self.redis_url)
        return self._waker

    def now(self) -> datetime:
        """Return the database's time."""
        return self.log.clock.now()

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        if isinstance(self._waker, Waker):
            self._waker.close()
            self._waker = None
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = self._log = None

    @contextmanager
    def replaced(self, log: MemoryLog, waker: Wakes) -> Generator[None]:
        """Within the block use this log and this waker, and need no server: for `ledger.testing`."""
        ours = self._log, self._waker, self._database
        self._log, self._waker, self._database = log, waker, None
        try:
            yield
        finally:
            self.close()
            self._log, self._waker, self._database = ours


def _embedded() -> tuple[str, str]:
    found = running(Path.cwd() / ".ledger")
    if found is None:
        raise Unavailable("no servers: set DATABASE_URL and REDIS_URL, or start development servers with `ledger dev`")
    return found
