"""Pauses: queues from which nothing new is leased until they are resumed, by whom and why.

They are kept in Postgres, beside the log, so they outlive every process and a Redis that loses its contents. What runs
goes on, and enqueueing works. Each change goes into the audit in the statement that makes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.errors import Breach, InvalidRequest
from ledger.runtime.statements import statement
from ledger.settings import QUEUE_NAME
from ledger.texts import is_keepable

if TYPE_CHECKING:
    from ledger.runtime.database import Database

LONGEST_REASON = 500

_PAUSE = statement("ledger", "pauses/pause")
_RESUME = statement("ledger", "pauses/resume")
_SELECT = statement("ledger", "pauses/select")


def pause(database: Database, queue: str, *, actor: str, reason: str | None = None) -> bool:
    """Let nothing new be leased from a queue; False if it was paused already, and stays as it was."""
    return _change(database, _PAUSE, queue, actor, reason)


def resume(database: Database, queue: str, *, actor: str, reason: str | None = None) -> bool:
    """Let the jobs of a queue be leased again; False if it was not paused."""
    return _change(database, _RESUME, queue, actor, reason)


def paused(database: Database) -> frozenset[str]:
    """Return the queues that are paused now."""
    with database.connection() as connection:
        return frozenset(queue for (queue,) in connection.execute(_SELECT).fetchall())


def _change(database: Database, change: bytes, queue: str, actor: str, reason: str | None) -> bool:
    _check(queue, reason)
    with database.connection() as connection:
        return connection.execute(change, {"queue": queue, "actor": actor, "reason": reason}).rowcount == 1


def _check(queue: str, reason: str | None) -> None:
    breaches: list[Breach] = []
    if not QUEUE_NAME.fullmatch(queue):
        breaches.append(Breach("/queue", "must be 1 to 50 of letters, digits, '.', '_', '-'"))
    if reason is not None and not (len(reason) <= LONGEST_REASON and is_keepable(reason)):
        breaches.append(Breach("/reason", f"must be a string of at most {LONGEST_REASON} characters"))
    if breaches:
        raise InvalidRequest(breaches)
