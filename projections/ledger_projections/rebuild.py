"""Rebuilding read models: the next generation grows beside the live one and takes its place in one transaction.

Readers see the old one until then. What the log held at the beginning is folded share by share in parallel (`shares`);
then an ordinary engine catches up with what has come since; then the two are compared at the same cursor and swapped
(`generations`). Interrupted at any point, the next call goes on from there; a next generation that another version of
the code began is begun afresh. Several processes may rebuild the same projection: they share the work.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from psycopg.errors import DeadlockDetected, LockNotAvailable, SerializationFailure

from ledger.errors import Unavailable
from ledger_projections import generations, shares
from ledger_projections.cursors import Overtaken
from ledger_projections.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ledger.runtime.database import Database
    from ledger_projections.generations import Comparison
    from ledger_projections.projection import AnyConnection, Projection

    OnProgress = Callable[[int, int], None]
    """Called from any thread with (events folded, events to fold)."""

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds to try for a moment in which nobody holds the tables or has moved on."""

_CONFLICTS = (DeadlockDetected, LockNotAvailable, SerializationFailure, Overtaken)
_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A read model that was rebuilt and is live now."""

    projection: str
    comparison: Comparison | None
    """None where nothing comparable was live: no read model at all, or one of another version."""


def rebuild(
    database: Database,
    projections: Sequence[Projection],
    on_progress: OnProgress = lambda _folded, _total: None,
    *,
    jobs: int = 2,
    batch_size: int = shares.BATCH_SIZE,
    stop: threading.Event | None = None,
) -> list[Rebuilt]:
    """Rebuild these read models from the log and say what differed from the ones they replace.

    `jobs` shares are folded at a time. When `stop` is set it ends early, with what is done kept for the next call,
    and returns only what was swapped.
    """
    work = _Rebuild(database, projections, on_progress, batch_size, stop or threading.Event())
    work.attempt(lambda connection: shares.plan(connection, projections))
    work.fold_shares(jobs)
    return work.finish(jobs)


def is_outdated(database: Database, projection: Projection) -> bool:
    """Whether what is live was filled by an older version of the code. A newer one is not ours to replace."""
    with database.connection() as connection:
        live = shares.stored(connection, projection.name).get("live")
    return live is not None and live.version < projection.version


class _Rebuild:
    def __init__(
        self,
        database: Database,
        projections: Sequence[Projection],
        on_progress: OnProgress,
        batch_size: int,
        stop: threading.Event,
    ) -> None:
        self._database = database
        self._projections = {projection.name: projection for projection in projections}
        self._on_progress = on_progress
        self._batch_size = batch_size
        self._stop = stop
        self._lock = threading.Lock()
        self._folded = self._total = 0

    def fold_shares(self, jobs: int) -> None:
        """Fold until no share is left, also those that somebody else has begun and left."""
        while (left := self._look()) and not self._stop.is_set():
            with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="rebuild") as threads:
                for done in [threads.submit(self._fold_free_shares) for _ in range(min(jobs, left))]:
                    done.result()
            if self._look() == left:
                self._stop.wait(_PAUSE)  # another process is at work on what is left

    def finish(self, jobs: int) -> list[Rebuilt]:
        """Make the indexes, catch up, compare and swap, `jobs` projections at a time."""
        with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="rebuild") as threads:
            done = [threads.submit(self._finish, projection) for projection in self._projections.values()]
            return [rebuilt for each in done if (rebuilt := each.result()) is not None]

    def _finish(self, projection: Projection) -> Rebuilt | None:
        self._index(projection)
        engine = Engine(self._database, projection, generation="next")
        while not self._stop.is_set() and engine.run_once():
            pass
        if self._stop.is_set():
            return None
        comparison = self._compare(projection)
        self.attempt(lambda connection: generations.swap(connection, projection))
        return Rebuilt(projection.name, comparison)

    def attempt(self, action: Callable[[AnyConnection], T]) -> T:
        """Do this in one transaction, again as long as it is in conflict with others."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with self._database.connection() as connection:
                try:
                    with connection.transaction():
                        return action(connection)
                except _CONFLICTS:
                    pass
            threading.Event().wait(_PAUSE)
        raise Unavailable("the read models are in use without a pause; end long transactions and run it again")

    def _look(self) -> int:
        with self._database.connection() as connection:
            found = shares.progress(connection, list(self._projections.values()))
        with self._lock:
            self._folded, self._total = found.folded, found.total
        self._on_progress(found.folded, found.total)
        return found.left

    def _fold_free_shares(self) -> None:
        while not self._stop.is_set():
            folded = self.attempt(lambda c: shares.fold_next(c, self._projections, self._batch_size))
            if folded is None:
                return
            with self._lock:
                self._folded += folded
                self._on_progress(self._folded, self._total)

    def _index(self, projection: Projection) -> None:
        if not self._stop.is_set():
            self.attempt(lambda connection: shares.index(connection, projection))

    def _compare(self, projection: Projection) -> Comparison | None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if not self.attempt(lambda connection: generations.align(connection, projection)):
                return None
            found = self.attempt(lambda connection: generations.compare(connection, projection))
            if found is not None:
                return found
        return None
