"""Pauses: queues from which nothing new is leased until they are resumed, by whom and why.

They are kept in Postgres, beside the log, so they outlive every process and a Redis that loses its contents. What runs
goes on, and enqueueing works. Each change goes into the audit in the transaction that makes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ledger.audit import record
from ledger.errors import Breach, InvalidRequest
from ledger.runtime.statements import statement
from ledger.settings import QUEUE_NAME
from ledger.texts import is_keepable

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.runtime.database import Database

LONGEST_REASON = 500

_PAUSE = statement("ledger", "pauses/pause")
_RESUME = statement("ledger", "pauses/resume")
_SELECT = statement("ledger", "pauses/select")


def pause(database: Database, queue: str, *, actor: str, reason: str | None = None) -> bool:
    """Let nothing new be leased from a queue; False if it was paused already, and stays as it was."""
    _check(queue, reason)
    with database.connection() as connection, connection.transaction():
        row = connection.execute(_PAUSE, {"queue": queue, "actor": actor, "reason": reason}).fetchone()
        if row is not None:
            record(connection, actor=actor, action="queue.paused", subject=queue, reason=reason, after=_pause(*row))
        return row is not None


def resume(database: Database, queue: str, *, actor: str, reason: str | None = None) -> bool:
    """Let the jobs of a queue be leased again; False if it was not paused."""
    _check(queue, reason)
    with database.connection() as connection, connection.transaction():
        row = connection.execute(_RESUME, {"queue": queue}).fetchone()
        if row is not None:
            record(connection, actor=actor, action="queue.resumed", subject=queue, reason=reason, before=_pause(*row))
        return row is not None


def paused(database: Database) -> frozenset[str]:
    """Return the queues that are paused now."""
    with database.connection() as connection:
        return frozenset(queue for (queue,) in connection.execute(_SELECT).fetchall())


def _pause(paused_at: datetime, paused_by: str, reason: str | None) -> dict[str, Any]:
    return {"paused_at": paused_at, "paused_by": paused_by, "reason": reason}


def _check(queue: str, reason: str | None) -> None:
    breaches: list[Breach] = []
    if not QUEUE_NAME.fullmatch(queue):
        breaches.append(Breach("/queue", "must be 1 to 50 of letters, digits, '.', '_', '-'"))
    if reason is not None and not (len(reason) <= LONGEST_REASON and is_keepable(reason)):
        breaches.append(Breach("/reason", f"must be a string of at most {LONGEST_REASON} characters"))
    if breaches:
        raise InvalidRequest(breaches)
