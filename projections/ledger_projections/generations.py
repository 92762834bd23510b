"""The last part of a rebuild: the next generation beside the live one, compared, and put in its place.

Both are done with the turns of both generations in hand, so that no engine moves meanwhile; readers are not held up.
The transactions are READ COMMITTED, for a lock that was waited for must be followed by a look at what its last holder
left. So a batch names the gaps in it: what fills one between the read and the fold belongs to a later batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from psycopg.errors import UndefinedTable

from ledger.runtime.statements import statement
from ledger_projections import cursors, engine, parked, shares
from ledger_projections.projection import SCHEMAS, Batch

if TYPE_CHECKING:
    from ledger.cursor import Cursor
    from ledger_projections.cursors import Turn
    from ledger_projections.projection import AnyConnection, Projection

TURN_WAIT = "10s"
"""An engine's turn is over long before."""

READERS_WAIT = "200ms"
"""How long the swap may stand in the queue for a table: readers queue up behind it."""

_EVERYTHING = 1 << 62

_LOCK = statement("ledger_projections", "lock_projection")
_LIMIT = statement("ledger_projections", "rebuild/limit_lock_wait")
_NAME = statement("ledger_projections", "name_tables")
_COMPARE = statement("ledger_projections", "rebuild/compare_tables")
_COMPARED = statement("ledger_projections", "rebuild/select_compared")
_SWAP_TABLES = statement("ledger_projections", "rebuild/swap_tables")
_SWAP_CURSORS = statement("ledger_projections", "rebuild/swap_cursors")
_DROP_NEXT = statement("ledger_projections", "rebuild/drop_next_cursor")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rebuilt read model against the one it replaces, at the same cursor."""

    rows: int
    differing: int


def align(connection: AnyConnection, projection: Projection) -> bool:
    """Bring both generations to the same cursor, in this transaction. False when there is nothing to compare."""
    live, following = _turns(connection, projection)
    if live is None or following is None or live.version != projection.version:
        return False
    target = _catch_up(connection, projection, following)
    late = cursors.read(connection, live.cursor, _EVERYTHING).late
    batch = Batch(
        live.cursor.high,
        target.high,
        late=tuple(position for position in late if not _in(target, position) and position <= target.high),
        holes=target.holes,
    )
    engine.enter(connection, SCHEMAS["live"])
    engine.apply(connection, [projection], "live", batch)
    cursors.move(connection, live, target)
    return True


def compare(connection: AnyConnection, projection: Projection) -> Comparison | None:
    """Compare the generations in one snapshot, while the live one goes on; None when it has gone on before that.

    Raises Overtaken when another process swaps them.
    """
    cursors.begin(connection)
    both = shares.stored(connection, projection.name)
    if "live" not in both or "next" not in both or both["live"].cursor != both["next"].cursor:
        return None
    connection.execute(_NAME, {"tables": ",".join(projection.tables)})
    try:
        connection.execute(_COMPARE)
    except UndefinedTable as error:
        raise cursors.Overtaken from error  # another process has swapped them since this snapshot was taken
    found = connection.execute(_COMPARED).fetchone()
    assert found is not None
    return Comparison(*found)


def swap(connection: AnyConnection, projection: Projection) -> None:
    """Put the next generation in the live one's place, in this transaction; nothing when somebody else has done it.

    It has read whatever the live one has: it reads once more with the live one's turn in hand. Raises LockNotAvailable
    when a reader keeps a table too long; then nothing has changed.
    """
    live, following = _turns(connection, projection)
    if following is None:
        return
    reached = _catch_up(connection, projection, following)
    assert live is None or reached.high >= live.cursor.high, "the next generation would take readers back"
    connection.execute(_LIMIT, {"wait": READERS_WAIT})
    connection.execute(_NAME, {"tables": ",".join(projection.tables)})
    connection.execute(_SWAP_TABLES)
    connection.execute(_SWAP_CURSORS, {"projection": projection.name})
    connection.execute(_DROP_NEXT, {"projection": projection.name})
    parked.promote(connection, projection.name)
    shares.drop(connection, projection)


def _turns(connection: AnyConnection, projection: Projection) -> tuple[Turn | None, Turn | None]:
    """Wait for the turns of both generations, and take them."""
    connection.execute(_LIMIT, {"wait": TURN_WAIT})
    for generation in ("live", "next"):
        connection.execute(_LOCK, {"projection": projection.name, "generation": generation})
    live = cursors.take(connection, projection.name, "live")
    return live, cursors.take(connection, projection.name, "next")


def _catch_up(connection: AnyConnection, projection: Projection, turn: Turn) -> Cursor:
    """Fold everything visible into the next generation, move its cursor, and return it."""
    # Read in two statements, and so in two snapshots here: a hole filled between them was not seen and is not void. An
    # xmin of 0 forgets none.
    seen = replace(cursors.read(connection, turn.cursor, _EVERYTHING), xmin=0)
    if not seen.empty:
        engine.enter(connection, SCHEMAS["next"])
        engine.apply(connection, [projection], "next", replace(seen.batch(), holes=seen.gaps))
    reached = cursors.after(connection, turn.cursor, seen)
    cursors.move(connection, turn, reached)
    return reached


def _in(cursor: Cursor, position: int) -> bool:
    return position in cursor.old or position in cursor.young
