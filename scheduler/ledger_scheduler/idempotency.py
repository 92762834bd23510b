"""Idempotency keys: those whose time is over are deleted, a bounded batch at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger_projections.reading import reading

from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from datetime import timedelta

    from ledger.runtime.database import Database

BATCH_SIZE = 1000

_DELETE = statement("ledger_scheduler", "delete_idempotency_keys")


class IdempotencyKeys:
    name = "idempotency keys"

    def __init__(self, database: Database, ttl: timedelta, batch_size: int = BATCH_SIZE) -> None:
        self._database = database
        self._ttl = ttl
        self._batch_size = batch_size

    def run_once(self) -> bool:
        with reading(self._database) as connection:
            deleted = connection.execute(_DELETE, {"ttl": self._ttl, "limit": self._batch_size}).rowcount
        return deleted == self._batch_size
