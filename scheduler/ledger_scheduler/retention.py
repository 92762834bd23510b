"""Retention: weeks of the log whose jobs have all ended, and have been quiet for long enough, leave it.

A week leaves in one transaction, together with what the read models, the notes and the idempotency keys hold of its
jobs: whoever looks, in any snapshot, sees either all of it or none, and a rebuild of what is left equals what is live.
Of the statistics, the minutes up to the week's last event go as well, for other weeks' jobs share them; from then on
folding and verifying leave them out too (`ledger.counted_from`).

The week then stands aside as a table of its own, is exported where that is wanted, and dropped. A crash in between
leaves it standing there, and the next turn goes on.
"""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from ledger_projections.reading import reading
from psycopg.errors import LockNotAvailable, SerializationFailure

from ledger.runtime import failpoints
from ledger.runtime.service import long_turn
from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from pathlib import Path
    from uuid import UUID

    from psycopg import Connection

    from ledger.runtime.database import Database
    from ledger_scheduler.metrics import Meters

log = structlog.get_logger()

_LOCK = statement("ledger_projections", "lock_projection")
_TAKE = statement("ledger_scheduler", "retention/take_turn")
_WEEKS = statement("ledger_scheduler", "retention/select_weeks")
_LOOK = statement("ledger_scheduler", "retention/look_at_partition")
_RETIRE = statement("ledger_scheduler", "retention/retire_partition")
_RETIRED = statement("ledger_scheduler", "retention/select_retired")
_COPY = statement("ledger_scheduler", "retention/copy_retired")
_DROP = statement("ledger_scheduler", "retention/drop_retired")
_NAME = statement("ledger_scheduler", "retention/name_births")
_DELETE_ROWS = statement("ledger_scheduler", "retention/delete_rows")
_OF_JOBS = tuple(statement("ledger_scheduler", f"retention/{name}") for name in ("delete_notes", "delete_keys"))
_OF_STATISTICS = tuple(
    statement("ledger_scheduler", f"retention/{name}")
    for name in ("delete_minutes", "delete_histograms", "delete_attempt_minutes", "delete_empty_counts")
)


class Stays(Exception):
    """The week must stay, so nothing of it may go."""


@dataclass(frozen=True, slots=True)
class Week:
    """A partition that is older than the retention."""

    partition: str
    born_from: UUID
    born_to: UUID
    age: float
    """Seconds since its end."""
    pinned: bool
    """The read model knows a job of it that has not ended."""


class Retention:
    """Lets weeks leave, one a turn. Any number may run; one is active at a time."""

    name = "retention"

    def __init__(self, database: Database, retention: timedelta, meters: Meters, export_to: Path | None = None) -> None:
        self._database = database
        self._retention = retention
        self._meters = meters
        self._export_to = export_to
        self._told: dict[str, str] = {}
        """Why each week stays, as it was last said."""

    def run_once(self) -> bool:
        with reading(self._database) as connection, long_turn():
            self._clear_away(connection)
            weeks = [Week(*row) for row in connection.execute(_WEEKS, {"retention": self._retention})]
            pins: dict[str, str] = {}
            for week in weeks:
                pin = "jobs of it have not ended" if week.pinned else self._retire(connection, week)
                if pin is None:
                    self._clear_away(connection)
                    return True
                pins[week.partition] = pin
        self._meters.oldest_pinned.set(weeks[0].age if weeks else 0)
        self._tell(pins)
        return False

    def _retire(self, connection: Connection[Any], week: Week) -> str | None:
        """Let the week leave; return why not, where it stays."""
        try:
            with connection.transaction():
                if connection.execute(_TAKE).fetchone() != (True,):
                    return "another scheduler is at it"
                last_at = self._look(connection, week)
                _delete(connection, week, last_at)
                failpoints.hit("before_retiring")
                named = {"partition": week.partition, "retention": self._retention}
                if pin := _one(connection, _RETIRE, named)[0]:
                    raise Stays(pin)
        except Stays as stays:
            return str(stays)
        except (LockNotAvailable, SerializationFailure) as error:
            return str(error).partition("\n")[0]
        log.info("week left the log", partition=week.partition)
        failpoints.hit("after_detach")
        return None

    def _look(self, connection: Connection[Any], week: Week) -> datetime | None:
        pin, last_at = _one(connection, _LOOK, {"partition": week.partition, "retention": self._retention})
        if pin:
            raise Stays(pin)
        return last_at

    def _clear_away(self, connection: Connection[Any]) -> None:
        """Export and drop what stands aside, be it from before a crash."""
        with connection.transaction():
            if connection.execute(_TAKE).fetchone() != (True,):
                return
            row = connection.execute(_RETIRED).fetchone()
            if row is None:
                return
            partition, retired_at = row
            if self._export_to is not None:
                _export(connection, self._export_to / f"{partition}_{retired_at:%Y%m%dT%H%M%SZ}.csv.gz")
                failpoints.hit("after_export")
            connection.execute(_DROP)
        log.info("week dropped", partition=partition)

    def _tell(self, pins: dict[str, str]) -> None:
        for partition, pin in pins.items():
            if self._told.get(partition) != pin:
                log.info("week stays in the log", partition=partition, reason=pin)
        self._told = pins


def _delete(connection: Connection[Any], week: Week, last_at: datetime | None) -> None:
    births = {"born_from": week.born_from, "born_to": week.born_to}
    connection.execute(_NAME, births)
    connection.execute(_DELETE_ROWS)
    for sql in _OF_JOBS:
        connection.execute(sql, births)
    connection.execute(_LOCK, {"projection": "queue_stats", "generation": "live"})
    for sql in _OF_STATISTICS:
        connection.execute(sql, {"last_at": last_at})


def _export(connection: Connection[Any], path: Path) -> None:
    """Write the file under another name first: what is there is whole."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        with (
            gzip.GzipFile(fileobj=file, mode="wb") as packed,
            connection.cursor() as cursor,
            cursor.copy(_COPY) as copy,
        ):
            for chunk in copy:
                packed.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    log.info("week exported", path=str(path))


def _one(connection: Connection[Any], sql: bytes, parameters: dict[str, Any]) -> tuple[Any, ...]:
    row = connection.execute(sql, parameters).fetchone()
    assert row is not None
    return row
