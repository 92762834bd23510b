"""The first and longest part of a rebuild: what the log held when it began, folded in parallel, resumably.

The plan fixes a set of events for ever: the positions up to the high mark that were visible in one snapshot, the holes
left out. What shows up later in a hole is read by the next generation's cursor, like everything after the high mark.
So the set can be folded share by share, each the jobs born in a slice of a partition's time, and it makes no difference
who does it, when, or how often it was interrupted: what is left of a share moves in the transaction that folds.

A share is folded job by job, whole lives, so most rows of a read model are written once, and in the order of its key.
It is folded for all read models at once whose rebuilds began at the same place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from ledger.cursor import Cursor, Holes
from ledger.runtime.statements import statement
from ledger_projections import cursors, engine
from ledger_projections.projection import SCHEMAS, Batch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ledger_projections.cursors import Turn
    from ledger_projections.projection import AnyConnection, Generation, Projection

BATCH_SIZE = 40_000
"""Events a transaction, more or less: no life is cut in two. They take some ten megabytes of the server's memory."""

SLICES = 16
"""Shares of a partition, at most: a few for each of those that fold at the same time, for slices are not alike."""

_EVERYTHING = 1 << 62

_LOCK = statement("ledger_projections", "lock_projection")
_STANDING = statement("ledger_projections", "select_standing")
_CURSORS = statement("ledger_projections", "rebuild/select_cursors")
_COUNT = statement("ledger_projections", "rebuild/count_shares")
_PLAN = statement("ledger_projections", "rebuild/plan_shares")
_DROP = statement("ledger_projections", "rebuild/drop_shares")
_CLAIM = statement("ledger_projections", "rebuild/claim_share")
_READ = statement("ledger_projections", "rebuild/read_share")
_MOVE = statement("ledger_projections", "rebuild/move_share")
_MEMORY = statement("ledger_projections", "rebuild/allow_memory")


@dataclass(frozen=True, slots=True)
class Stored:
    """A cursor as it is stored."""

    version: int
    cursor: Cursor
    origin: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of the planned shares is folded."""

    folded: int
    total: int
    left: int
    """Shares that are not done."""


def plan(connection: AnyConnection, projections: Sequence[Projection]) -> None:
    """Begin the next generations in this transaction, but for those that an interrupted rebuild by the same code has
    begun.
    """
    cursors.begin(connection)
    places: dict[Cursor, list[Turn]] = {}
    for projection in sorted(projections, key=lambda projection: projection.name):
        connection.execute(_LOCK, {"projection": projection.name, "generation": "next"})
        if not _begun(connection, projection):
            turn = _begin(connection, projection)
            places.setdefault(_start(connection, projection, turn), []).append(turn)
    for place, turns in places.items():
        begun = cursors.after(connection, place, cursors.read(connection, place, _EVERYTHING))
        for turn in turns:
            cursors.move(connection, turn, begun)
        connection.execute(_PLAN, {"projections": [turn.projection for turn in turns], "slices": SLICES})


def _begin(connection: AnyConnection, projection: Projection) -> Turn:
    engine.reset(connection, projection, "next", indexed=False)
    drop(connection, projection)
    turn = cursors.take(connection, projection.name, "next")
    assert turn is not None, "this transaction holds its lock and has made its cursor"
    return turn


def _start(connection: AnyConnection, projection: Projection, turn: Turn) -> Cursor:
    """Return the place from which to look how far the log goes: that of the live generation, whose holes say which
    positions may still come.
    """
    live = stored(connection, projection.name).get("live")
    if live is None:
        return Cursor()
    return live.cursor if live.origin == turn.origin else live.cursor.reanchor(cursors.current_xid(connection))


def progress(connection: AnyConnection, projections: Sequence[Projection]) -> Progress:
    row = connection.execute(_COUNT, {"projections": [projection.name for projection in projections]}).fetchone()
    assert row is not None
    shares, done, folded, total = row
    return Progress(folded, total, shares - done)


def fold_next(connection: AnyConnection, projections: Mapping[str, Projection], batch_size: int) -> int | None:
    """Fold the next jobs of any share in this transaction; return how many events, more or less, counted once for each
    read model, or None when no share is free.
    """
    claimed = connection.execute(_CLAIM, {"projections": list(projections)}).fetchall()
    if not claimed:
        return None
    names = [name for name, *_ in claimed]
    _, partition, born_from, born_to, high, holes = claimed[0]
    bounds = {"born_from": born_from, "born_to": born_to, "limit": batch_size}
    found = connection.execute(_READ, bounds, prepare=False).fetchone()
    last = UUID(int=born_to.int - 1) if found is None else found[0]
    engine.enter(connection, SCHEMAS["next"])
    connection.execute(_MEMORY)
    batch = Batch(0, high, holes=cursors.ranges(holes), born_from=born_from, born_to=last)
    engine.apply(connection, [projections[name] for name in names], "next", batch)
    moved = {
        "projections": names,
        "partition": partition,
        "born_from": UUID(int=last.int + 1),
        "count": batch_size,
        "done": found is None,
    }
    row = connection.execute(_MOVE, moved).fetchone()
    assert row is not None, "this transaction holds the share"
    return row[0]


def index(connection: AnyConnection, projection: Projection) -> None:
    """Make the next generation's indexes, but for those that an interrupted rebuild has made.

    Nothing where another process has put that generation in the live one's place by now.
    """
    connection.execute(_LOCK, {"projection": projection.name, "generation": "next"})
    if projection.index and _begun(connection, projection):
        connection.execute(_MEMORY)
        connection.execute(projection.index)


def drop(connection: AnyConnection, projection: Projection) -> None:
    """Forget the shares."""
    connection.execute(_DROP, {"projection": projection.name})


def stored(connection: AnyConnection, projection: str) -> dict[Generation, Stored]:
    """Return the projection's cursors by generation."""
    found: dict[Generation, Stored] = {}
    for generation, version, high, old, old_horizon, young, young_horizon, origin in connection.execute(
        _CURSORS, {"projection": projection}
    ):
        old_holes, young_holes = Holes(cursors.ranges(old), old_horizon), Holes(cursors.ranges(young), young_horizon)
        found[generation] = Stored(version, Cursor(high, old_holes, young_holes), origin)
    return found


def _begun(connection: AnyConnection, projection: Projection) -> bool:
    engine.enter(connection, SCHEMAS["next"])
    names = {"projection": projection.name, "generation": "next", "tables": list(projection.tables)}
    standing = connection.execute(_STANDING, names).fetchone()
    planned = connection.execute(_COUNT, {"projections": [projection.name]}).fetchone()
    return standing == (True, projection.version) and planned is not None and planned[0] > 0
