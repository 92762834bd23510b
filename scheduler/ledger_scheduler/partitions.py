"""Partitions of the log, made weeks ahead: an append must never find its week missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from ledger_projections.reading import reading

from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from ledger.runtime.database import Database

log = structlog.get_logger()

WEEKS = 8

_MAKE = statement("ledger_scheduler", "make_partitions")


class Partitions:
    name = "partitions"

    def __init__(self, database: Database) -> None:
        self._database = database

    def run_once(self) -> bool:
        with reading(self._database) as connection:
            row = connection.execute(_MAKE, {"weeks": WEEKS}).fetchone()
        if row is not None and row[0]:
            log.info("partitions made", count=row[0])
        return False
