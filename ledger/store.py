"""Where the client puts jobs and finds them: the log, with idempotency keys and the caller's own transaction.

In life that is Postgres; `ledger.testing` brings one that needs no server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ledger import bulk, notes
from ledger.connections import caller_connection, joined
from ledger.opening import KEY_WAIT
from ledger.postgres import append_on, histories_on

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from ledger.doors import Doors
    from ledger.errors import LedgerError
    from ledger.events import Entry
    from ledger.log import Append, Outcome
    from ledger.notes import Note
    from ledger.opening import Made
    from ledger.requests import Submission


class Store(Protocol):
    """Jobs made and changed, in the transaction of `connection` where one is given."""

    def make_each(self, wanted: Sequence[Submission], appends: Sequence[Append]) -> list[Made | LedgerError]:
        """Make each job by itself, and answer in the same order with what was made or why not."""
        ...

    def make_all(self, wanted: Sequence[Submission], appends: Sequence[Append], connection: Any) -> list[Made]:
        """Make all jobs or none; raise for the first that cannot be made."""
        ...

    def append(self, append: Append, connection: Any) -> Outcome:
        """Append to one job."""
        ...

    def history(self, job_id: UUID, connection: Any) -> tuple[Entry, ...]:
        """Return a job's events in version order; empty if there is no such job."""
        ...

    def notes(self, job_id: UUID) -> list[Note]:
        """Return what the handlers of a job have said, oldest first."""
        ...


class PostgresStore:
    """The store in life."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    def make_each(self, wanted: Sequence[Submission], appends: Sequence[Append]) -> list[Made | LedgerError]:
        return bulk.make_each(self._doors.database, wanted, appends, self._doors.settings.job_idempotency_ttl)

    def make_all(self, wanted: Sequence[Submission], appends: Sequence[Append], connection: Any) -> list[Made]:
        with joined(self._doors.database, connection, KEY_WAIT) as transaction:
            return bulk.make_all(transaction, wanted, appends, self._doors.settings.job_idempotency_ttl)

    def append(self, append: Append, connection: Any) -> Outcome:
        if connection is None:
            return self._doors.log.append([append])[0]
        return append_on(caller_connection(connection), [append])[0]

    def history(self, job_id: UUID, connection: Any) -> tuple[Entry, ...]:
        if connection is None:
            return self._doors.log.history(job_id)
        return histories_on(caller_connection(connection), [job_id]).get(job_id, ())

    def notes(self, job_id: UUID) -> list[Note]:
        return notes.read(self._doors.database, job_id)
