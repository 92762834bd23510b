"""The engine that folds the log: one turn reads a batch, applies it and moves the cursor, in one transaction.

The transaction is REPEATABLE READ, so that the cursor's read and every fold see the same events, and commits
asynchronously: a crash that takes the end of it away takes rows and cursor together. A turn that another projector has
overtaken is rolled back.

The cursor is also kept in memory, so a turn without work is one question, or none where the dispatcher of the same
process has just asked it. Once a second the stored cursor is looked at: another projector may have moved it, or another
generation may have come to be the live one.

A batch that the data in it makes impossible is halved until the event is found. Its job is parked for this projection;
everything else is applied.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg.errors import SerializationFailure

from ledger.runtime.statements import statement
from ledger_projections import cursors, parked
from ledger_projections.projection import SCHEMAS, Batch, Generation, Projection, fold

if TYPE_CHECKING:
    from ledger.cursor import Cursor
    from ledger.runtime.database import Database
    from ledger_projections.projection import AnyConnection

log = structlog.get_logger()

BATCH_SIZE = 10_000
"""Events a turn: large enough for what gathers between two turns under load, small enough to stay within `work_mem`, or
nearly."""

LOOK_INTERVAL = 1.0
"""Seconds for which the cursor in memory is trusted."""

POISON = (psycopg.DataError, psycopg.IntegrityError)
"""What the data in an event can cause. Anything else is our bug or the server's trouble, and parks nothing."""

_ENTER = statement("ledger_projections", "enter_schema")
_LOCK = statement("ledger_projections", "lock_projection")
_STANDING = statement("ledger_projections", "select_standing")
_DROP = statement("ledger_projections", "drop_tables")
_TABLES = statement("ledger_projections", "name_tables")


class Engine:
    """Folds the log into one generation of one projection. Any number may run for it; one is active at a time."""

    def __init__(
        self,
        database: Database,
        projection: Projection,
        generation: Generation = "live",
        batch_size: int = BATCH_SIZE,
        end: cursors.End | None = None,
    ) -> None:
        self.name = f"projection {projection.name}" + ("" if generation == "live" else f" ({generation})")
        self.projection = projection
        self.generation: Generation = generation
        self._database = database
        self._batch_size = batch_size
        self._cursor: Cursor | None = None
        self._trusted_until = 0.0
        self._tail = cursors.Tail(end)

    def prepare(self) -> None:
        """Make the read model ready to be filled. Safe to call at once from several processes.

        Rows without a cursor, or a cursor without its tables, say nothing: such a read model begins anew. One that
        another version of the code fills is left alone; a rebuild replaces it.
        """
        self._trusted_until = 0.0
        with self._database.connection() as connection, connection.transaction():
            prepare(connection, self.projection, self.generation)

    def run_once(self) -> bool:
        trusted = self._cursor if time.monotonic() < self._trusted_until else None
        if self._tail.is_known_to_be_read(trusted):
            return False
        with self._database.connection() as connection:
            if self._tail.is_read(connection, self._cursor) and (trusted is not None or self._stands(connection)):
                return False
            self._trusted_until = 0.0
            try:
                with connection.transaction():
                    cursors.begin(connection)
                    busy = self._turn(connection)
            except (SerializationFailure, cursors.Overtaken):
                return True
        self._trusted_until = time.monotonic() + LOOK_INTERVAL
        return busy

    def _stands(self, connection: AnyConnection) -> bool:
        """Trust the cursor in memory for another while, if the stored one is the same."""
        assert self._cursor is not None
        names = self.projection.name, self.generation, self.projection.version
        if not cursors.stands(connection, *names, self._cursor):
            return False
        self._trusted_until = time.monotonic() + LOOK_INTERVAL
        return True

    def _turn(self, connection: AnyConnection) -> bool:
        turn = cursors.take(connection, self.projection.name, self.generation)
        if turn is None or turn.version != self.projection.version:
            return False
        seen = cursors.read(connection, turn.cursor, self._batch_size)
        if not seen.empty:
            enter(connection, SCHEMAS[self.generation])
            batch = seen.batch(parked.jobs(connection, self.projection.name, self.generation))
            apply(connection, self.projection, self.generation, batch)
        self._cursor = cursors.after(connection, turn.cursor, seen)
        cursors.move(connection, turn, self._cursor)
        if seen.empty:
            self._tail.nothing_seen(connection, self._cursor, seen.xmin)
        return seen.full


def prepare(connection: AnyConnection, projection: Projection, generation: Generation) -> None:
    """Create the tables and the cursor in this transaction, unless both are there or another version fills them."""
    enter(connection, SCHEMAS[generation])
    names = {"projection": projection.name, "generation": generation, "tables": list(projection.tables)}
    connection.execute(_LOCK, names)
    row = connection.execute(_STANDING, names).fetchone()
    assert row is not None
    complete, version = row
    if version is None or (version == projection.version and not complete):
        reset(connection, projection, generation)


def reset(connection: AnyConnection, projection: Projection, generation: Generation, *, indexed: bool = True) -> None:
    """Begin anew in this transaction: empty tables, and a cursor before the first event."""
    drop(connection, projection, generation)
    connection.execute(projection.create)
    if indexed and projection.index:
        connection.execute(projection.index)
    parked.clear(connection, projection.name, generation)
    cursors.create(connection, projection.name, generation, projection.version)


def drop(connection: AnyConnection, projection: Projection, generation: Generation) -> None:
    """Drop a generation's tables, those that are there."""
    enter(connection, SCHEMAS[generation])
    connection.execute(_TABLES, {"tables": ",".join(projection.tables)})
    connection.execute(_DROP)


def enter(connection: AnyConnection, schema: str) -> None:
    """Let unqualified names mean this schema's tables until the transaction ends, and let it commit asynchronously."""
    connection.execute(_ENTER, {"schema": schema})


def apply(connection: AnyConnection, projection: Projection, generation: Generation, batch: Batch) -> None:
    """Fold the batch into the schema that was entered, and park the jobs that make it fail."""
    try:
        with connection.transaction():
            fold(connection, projection, batch)
    except POISON as error:
        if batch.single is None:
            for half in batch.halves():
                # What the first half has parked, the second must leave out.
                out = parked.jobs(connection, projection.name, generation)
                apply(connection, projection, generation, replace(half, parked=out))
            return
        job_id = parked.park(connection, projection.name, generation, batch.single, str(error))
        log.warning("job parked", projection=projection.name, job_id=str(job_id), error=str(error))
