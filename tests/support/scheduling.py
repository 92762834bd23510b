"""The scheduler's services turned by hand, on a log whose `jobs` read model is kept up to date by the real engine."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ledger_projections.builtin import PROJECTIONS

from tests.support.lives import Lives, fold_all

if TYPE_CHECKING:
    from uuid import UUID

    from ledger.events import Event, Kind
    from ledger.runtime.database import Database
    from ledger.runtime.service import Service


class Bell:
    """Counts how often the dispatchers were told to look."""

    def __init__(self) -> None:
        self.rung = 0
        self.rings = threading.Event()

    def wake(self) -> None:
        self.rung += 1
        self.rings.set()


class Stage(Lives):
    """A log, its jobs' read model, and whoever is put on it."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.database = database
        self.bell = Bell()
        self.fold()

    def fold(self) -> None:
        fold_all(self.database, PROJECTIONS[:1])

    def turn(self, service: Service) -> None:
        """Fold what there is, and let the service do all it has to do."""
        self.fold()
        for _ in range(1000):
            if not service.run_once():
                return
        raise AssertionError("still busy after 1000 turns")

    def kinds(self, job_id: UUID) -> list[Kind]:
        return [entry.kind for entry in self.log.history(job_id)]

    def execute(self, statement: str, *parameters: object) -> None:
        with self.database.connection() as connection:
            connection.execute(statement, parameters)

    def forget(self, job_id: UUID, version: int) -> None:
        """Take an event out of the log, as if it had never been."""
        with self.database.connection() as connection, connection.transaction():
            connection.execute("set local session_replication_role = replica")
            connection.execute("delete from ledger.events where job_id = %s and version = %s", [job_id, version])

    def later(self, job_id: UUID, *events: Event) -> None:
        """Append what happens to the job next, without asking the rules."""
        self._change(job_id, events)
