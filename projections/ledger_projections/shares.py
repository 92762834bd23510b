"""The first and longest part of a rebuild: what the log held when it began, folded in parallel, resumably.

The plan fixes a set of events for ever: the positions up to the high mark that were visible in one snapshot, the holes
left out. What shows up later in a hole is read by the next generation's cursor, like everything after the high mark. So
the set can be folded partition by partition, and it makes no difference who does it, when, or how often it was
interrupted: each partition is a share, and what is left of it moves in the transaction that folds.

A share is folded job by job, whole lives, so most rows of a read model are written once, and in the order of its key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from ledger.cursor import Cursor, Holes
from ledger.runtime.statements import statement
from ledger_projections import cursors, engine
from ledger_projections.projection import SCHEMAS, Batch, multirange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ledger_projections.projection import AnyConnection, Generation, Projection

BATCH_SIZE = 40_000
"""Events a transaction, more or less: no life is cut in two. They take some ten megabytes of the server's memory."""

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


def plan(connection: AnyConnection, projection: Projection) -> None:
    """Begin the next generation in this transaction, unless an interrupted rebuild by the same code has begun it."""
    cursors.begin(connection)
    connection.execute(_LOCK, {"projection": projection.name, "generation": "next"})
    if _begun(connection, projection):
        return
    engine.reset(connection, projection, "next", indexed=False)
    drop(connection, projection)
    turn = cursors.take(connection, projection.name, "next")
    assert turn is not None, "this transaction holds its lock and has made its cursor"
    live = stored(connection, projection.name).get("live")
    cursor = Cursor() if live is None else live.cursor
    if live is not None and live.origin != turn.origin:
        cursor = cursor.reanchor(cursors.current_xid(connection))
    begun = cursors.after(connection, cursor, cursors.read(connection, cursor, _EVERYTHING))
    cursors.move(connection, turn, begun)
    parameters = {"projection": projection.name, "high": begun.high, "holes": multirange(begun.holes)}
    connection.execute(_PLAN, parameters)


def progress(connection: AnyConnection, projections: Sequence[Projection]) -> Progress:
    row = connection.execute(_COUNT, {"projections": [projection.name for projection in projections]}).fetchone()
    assert row is not None
    shares, done, folded, total = row
    return Progress(folded, total, shares - done)


def fold_next(connection: AnyConnection, projections: Mapping[str, Projection], batch_size: int) -> int | None:
    """Fold the next jobs of any share in this transaction; return how many events, more or less,
    or None when no share is free.
    """
    share = connection.execute(_CLAIM, {"projections": list(projections)}).fetchone()
    if share is None:
        return None
    name, partition, born_from, born_to, high, holes = share
    bounds = {"born_from": born_from, "born_to": born_to, "limit": batch_size}
    found = connection.execute(_READ, bounds, prepare=False).fetchone()
    last = UUID(int=born_to.int - 1) if found is None else found[0]
    _apply(
        connection, projections[name], Batch(0, high, holes=cursors.ranges(holes), born_from=born_from, born_to=last)
    )
    moved = {
        "projection": name,
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


def _apply(connection: AnyConnection, projection: Projection, batch: Batch) -> None:
    engine.enter(connection, SCHEMAS["next"])
    connection.execute(_MEMORY)
    engine.apply(connection, [projection], "next", batch)
