"""The engine that folds the log: one turn reads a batch, applies it and moves the cursor, in one transaction.

The transaction is REPEATABLE READ, so that the cursor's read and every fold see the same events, and commits
asynchronously: a crash that takes the end of it away takes rows and cursor together. A turn that another projector has
overtaken is rolled back.

One engine folds several projections in the same transaction, each with a cursor of its own. Those that stand at the
same place share what is read and are folded by one statement, and as all see the same snapshot they come to the same
place. When one of them fails by itself, or somebody's lock keeps it from its table, each has turns of its own until
that is over, so that it stops no other.

The cursor is also kept in memory, so a turn without work is one question, or none where the dispatcher of the same
process has just asked it; then the engine rests, until the dispatcher finds the log grown. Every two seconds the stored
cursor is looked at: another projector may have moved it, or another generation may have come to be the live one.

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

from ledger.errors import Unavailable
from ledger.runtime.statements import statement
from ledger_projections import cursors, parked
from ledger_projections.projection import SCHEMAS, Batch, Generation, Projection, fold

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from ledger.cursor import Cursor
    from ledger.runtime.database import Database
    from ledger_projections.cursors import Seen, Turn
    from ledger_projections.projection import AnyConnection

log = structlog.get_logger()

BATCH_SIZE = 25_000
"""Events a turn: large enough for what gathers between two turns under load, small enough to stay within the memory
that `take_turn` allows, or nearly."""
MUCH = 2_500
"""Events that make it worth while to let more gather before the next turn: thousands of jobs are on their way then, and
whichever of them begins in one turn's batch and ends in another's has its rows written twice."""

LOOK_INTERVAL = 2.0
"""Seconds for which the cursor in memory is trusted."""

LOCK_WAIT = "1s"
"""How long a turn waits for a lock: nothing of ours holds one on a live read model for longer."""
REST = 5.0
"""Seconds for which a read model that could not be folded is left alone: the others wait while it is tried."""

POISON = (psycopg.DataError, psycopg.IntegrityError)
"""What the data in an event can cause. Anything else is our bug or the server's trouble, and parks nothing."""

_ENTER = statement("ledger_projections", "enter_schema")
_LOCK = statement("ledger_projections", "lock_projection")
_STANDING = statement("ledger_projections", "select_standing")
_DROP = statement("ledger_projections", "drop_tables")
_TABLES = statement("ledger_projections", "name_tables")


class Engine:
    """Folds the log into one generation of some projections. Any number may run for them; one is active at a time."""

    def __init__(
        self,
        database: Database,
        *projections: Projection,
        generation: Generation = "live",
        batch_size: int = BATCH_SIZE,
        end: cursors.End | None = None,
    ) -> None:
        names = ", ".join(projection.name for projection in projections)
        self.name = f"projection {names}" + ("" if generation == "live" else f" ({generation})")
        self.generation: Generation = generation
        self._database = database
        self._projections = {projection.name: projection for projection in projections}
        self._batch_size = batch_size
        self._place: Cursor | None = None
        self._marks: dict[str, str] = {}
        self._trusted_until = 0.0
        self._tail = cursors.Tail(end)
        self._apart: list[Engine] = []
        """One for each projection, while one of them fails."""
        self.rests = False
        """The dispatcher looks for us as well."""
        self.gathers = False
        """It has found something just now: a moment for what comes with it."""
        self.had_much = False
        """In its last turn that found anything."""
        self._resting: dict[str, float] = {}
        """Which of those have failed at their last turn, and until when they are left alone."""

    def prepare(self) -> None:
        """Make the read models ready to be filled. Safe to call at once from several processes.

        Rows without a cursor, or a cursor without its tables, say nothing: such a read model begins anew. One that
        another version of the code fills is left alone; a rebuild replaces it.
        """
        self._trusted_until = 0.0
        for projection in self._projections.values():
            with self._database.connection() as connection, connection.transaction():
                prepare(connection, projection, self.generation)

    def run_once(self) -> bool:
        if self._apart:
            return self._run_apart()
        trusted = time.monotonic() < self._trusted_until
        rested, self.rests = self.rests, True  # before we ask what is known: who learns more from here on rouses us
        known = self.rests = self._tail.is_known_to_be_read(self._place)
        self.gathers = rested and not known
        if self.gathers:
            return False
        if known and trusted:
            return False
        with self._database.connection() as connection:
            if (known or self._tail.is_read(connection, self._place)) and (trusted or self._stands(connection)):
                return False
            self._trusted_until, self.rests = 0.0, False
            try:
                with connection.transaction():
                    cursors.begin(connection)
                    busy = self._turn(connection)
            except (SerializationFailure, cursors.Overtaken):
                return True
            except psycopg.Error:
                # While the server answers it may be about one of them: a bug, a limit, a table that is locked.
                if len(self._projections) == 1 or connection.closed:
                    raise
                busy = None
        if busy is None:
            self._apart = [
                Engine(self._database, projection, generation=self.generation, batch_size=self._batch_size)
                for projection in self._projections.values()
            ]
            return self._run_apart()
        self._trusted_until = time.monotonic() + LOOK_INTERVAL
        return busy

    def _stands(self, connection: AnyConnection) -> bool:
        """Trust the place in memory for another while, if it is still that of all stored cursors."""
        assert self._place is not None
        versions = {name: projection.version for name, projection in self._projections.items()}
        if not cursors.stand(connection, versions, self.generation, self._place):
            return False
        self._trusted_until = time.monotonic() + LOOK_INTERVAL
        return True

    def _turn(self, connection: AnyConnection) -> bool:
        # What grows beside it nobody waits for, and a rebuild's patience is its own.
        lock_wait = LOCK_WAIT if self.generation == "live" else None
        taken = [
            turn
            for turn in cursors.take_some(connection, list(self._projections), self.generation, lock_wait, self._marks)
            if turn.version == self._projections[turn.projection].version
        ]
        places: dict[Cursor, list[Turn]] = {}
        for turn in taken:
            places.setdefault(turn.cursor, []).append(turn)
        read = [self._read(connection, turns) for turns in places.values()]
        if counts := [seen.count for _, seen in read if not seen.empty]:
            self.had_much = max(counts) >= MUCH
        if len(read) == 1 and len(taken) == len(self._projections):
            self._place, seen = read[0]
            if seen.empty:
                self._tail.nothing_seen(connection, self._place, seen.xmin)
        else:
            self._place = None
        return any(seen.full for _, seen in read)

    def _read(self, connection: AnyConnection, turns: list[Turn]) -> tuple[Cursor, Seen]:
        """Read for cursors at the same place, apply what there is, and move them on."""
        place = turns[0].cursor
        seen = cursors.read(connection, place, self._batch_size)
        if not seen.empty:
            enter(connection, SCHEMAS[self.generation])
            projections = [self._projections[turn.projection] for turn in turns]
            apply(connection, projections, self.generation, seen.batch())
        moved = cursors.after(connection, place, seen)
        self._marks |= cursors.move_some(connection, turns, moved)
        return moved, seen

    def _run_apart(self) -> bool:
        """Give each projection a turn of its own, but for those that have just failed; raise only where all fail."""
        tried = [engine for engine in self._apart if time.monotonic() >= self._resting.get(engine.name, 0.0)]
        failures: dict[str, Exception] = {}
        busy = False
        for engine in tried:
            try:
                busy |= engine.run_once()
            except (Unavailable, psycopg.Error) as error:
                failures[engine.name] = error
        if failures and len(failures) == len(tried):
            raise next(iter(failures.values()))
        for engine in tried:
            self._note(engine.name, failures.get(engine.name))
        if not self._resting:
            self._apart = []
        return busy

    def _note(self, name: str, failure: Exception | None) -> None:
        """Let one rest that has failed while others could be folded, and say so once."""
        if failure is not None:
            if name not in self._resting:
                log.error("read model cannot be folded, the others go on", service=name, error=str(failure))
            self._resting[name] = time.monotonic() + REST
        elif self._resting.pop(name, None) is not None:
            log.info("read model is folded again", service=name)


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


def apply(connection: AnyConnection, projections: Sequence[Projection], generation: Generation, batch: Batch) -> None:
    """Fold the batch into the schema that was entered, less what is parked, and park the jobs that make a fold fail."""
    out = parked.jobs_of(connection, [projection.name for projection in projections], generation)
    together: dict[tuple[UUID, ...], list[Projection]] = {}
    for projection in projections:
        together.setdefault(out.get(projection.name, ()), []).append(projection)
    for job_ids, alike in together.items():
        _apply(connection, alike, generation, replace(batch, parked=job_ids))


def _apply(connection: AnyConnection, projections: Sequence[Projection], generation: Generation, batch: Batch) -> None:
    try:
        with connection.transaction():
            fold(connection, projections, batch)
    except POISON as error:
        if len(projections) > 1:
            for projection in projections:
                _apply(connection, [projection], generation, batch)
        elif batch.single is None:
            for half in batch.halves():
                # What the first half has parked, the second must leave out.
                apply(connection, projections, generation, half)
        else:
            (projection,) = projections
            job_id = parked.park(connection, projection.name, generation, batch.single, str(error))
            log.warning("job parked", projection=projection.name, job_id=str(job_id), error=str(error))
