"""Cursors in the database: taking a projection's turn, reading what is new to it, and moving on.

All of it happens in one REPEATABLE READ transaction of the caller, together with what the events lead to; `begin` comes
first. The advisory lock only keeps two projectors from doing the same work. What keeps a stale one out is that `move`
changes the row that was read or nothing.

Horizons are xids and mean something in one cluster and on one timeline only. Both are kept beside them, and `take`
re-anchors the holes when they have changed, as after a restore or a failover.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from ledger.cursor import Cursor, Holes, Range
from ledger.runtime.prepared import Question
from ledger.runtime.statements import statement
from ledger_projections.projection import Batch, multirange

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg.types.multirange import Multirange

    from ledger_projections.projection import AnyConnection, Generation

_BEGIN = statement("ledger_projections", "begin_turn")
_TAKE = statement("ledger_projections", "take_turn")
_CREATE = statement("ledger_projections", "create_cursor")
_MOVE = statement("ledger_projections", "move_cursor")
_LATE = statement("ledger_projections", "read_late")
_WINDOW = statement("ledger_projections", "read_window")
_XID = statement("ledger_projections", "select_xid")
_DRAWN = Question("drawn", statement("ledger_projections", "select_drawn"))
_STAND = Question(
    "stand", statement("ledger_projections", "select_stand"), "projections", "versions", "generation", "high"
)

Marks = Mapping[str, str]
"""Where the rows of some projections' cursors stood when they were last moved. A hint that saves a look-up; rows are
told by what is in them, so a wrong one does no harm."""
_UNKNOWN: Marks = {}

FRESH = 0.3
"""Seconds for which the end of the log, as somebody else has learned it, is good enough for a read model: a little
longer than the laziest dispatcher waits."""


class Overtaken(Exception):
    """Another projector has moved the cursor since it was read: what was done with the batch must be rolled back."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One projection generation, held by this transaction: nobody else reads for it until the transaction ends."""

    projection: str
    generation: Generation
    version: int
    """Of the code that fills this generation."""
    cursor: Cursor
    origin: str
    """System identifier and timeline of the cluster, to which the cursor's horizons belong."""
    mark: str
    """Where the cursor's row stands in its table."""
    reanchored: bool
    """The horizons were of another origin and have been taken again; they are not stored yet."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one read of the log brought, in one snapshot."""

    late: tuple[int, ...]
    """Holes that have been filled, rising."""
    low: int
    high: int
    """The window is what lies after `low` up to here."""
    count: int
    """Events in the window."""
    gaps: tuple[Range, ...]
    """Positions in the window that nobody has committed yet."""
    xmin: int
    full: bool
    """The limit cut it off: there is more to read right now."""

    @property
    def empty(self) -> bool:
        return not self.late and self.count == 0

    def batch(self) -> Batch:
        return Batch(self.low, self.high, self.late)


class End:
    """The end of the log: the last position that anybody has drawn. Who asks for it tells the others of its process;
    `grown` is called when it is another than before.
    """

    def __init__(self, grown: Callable[[], None] = lambda: None) -> None:
        self._told: tuple[int, float, object] = (0, -inf, self)
        self._grown = grown

    def tell(self, drawn: int, teller: object) -> None:
        before = self._told[0]
        self._told = drawn, time.monotonic(), teller
        if drawn != before:
            self._grown()

    def known_to(self, asker: object) -> int | None:
        """What another has told a moment ago. Who has asked itself and comes again wants to know it anew."""
        drawn, told_at, teller = self._told
        return drawn if teller is not asker and time.monotonic() - told_at < FRESH else None


class Tail:
    """Tells by one short question that there can be nothing to read.

    That is so when the last position drawn is where the cursor stands, or when what lies between was drawn in vain:
    those positions are void once everyone who may have drawn them has ended, and still nothing is to be seen.
    """

    def __init__(self, end: End | None = None) -> None:
        self._end = end or End()
        self._drawn = 0
        self._place = self._void = (0, 0)
        """The cursor's position and the last one drawn."""
        self._horizon = 0

    def is_read(self, connection: AnyConnection, cursor: Cursor | None) -> bool:
        """Ask. To be called before each turn's transaction."""
        drawn = _DRAWN.ask(connection)
        self._end.tell(drawn, self)
        return self._is_read(drawn, cursor)

    def has_reached(self, high: int) -> None:
        """Learn, and tell, that a turn has read up to here."""
        self._end.tell(high, self)

    def is_known_to_be_read(self, cursor: Cursor | None) -> bool:
        """Tell without asking, by what others have learned a moment ago."""
        drawn = self._end.known_to(self)
        return drawn is not None and self._is_read(drawn, cursor)

    def _is_read(self, drawn: int, cursor: Cursor | None) -> bool:
        self._drawn = drawn
        if cursor is None or cursor.hole_count:
            return False
        return drawn == cursor.high or self._void == (cursor.high, drawn)

    def nothing_seen(self, connection: AnyConnection, cursor: Cursor, xmin: int) -> None:
        """Learn that a turn saw nothing above this cursor, in a snapshot with this xmin; in the turn's transaction."""
        place = cursor.high, self._drawn
        if cursor.hole_count or self._drawn <= cursor.high:
            return
        if self._place != place:
            self._place, self._horizon = place, current_xid(connection)
        elif xmin > self._horizon:
            self._void = place


def begin(connection: AnyConnection) -> None:
    """Make this the transaction of a turn. Must be the first statement in it."""
    connection.execute(_BEGIN)


def create(connection: AnyConnection, projection: str, generation: Generation, version: int, high: int = 0) -> None:
    """Start a cursor at `high`, with no holes, in place of any that is there."""
    parameters = {"projection": projection, "generation": generation, "version": version, "high": high}
    connection.execute(_CREATE, parameters)


def take(connection: AnyConnection, projection: str, generation: Generation, marks: Marks = _UNKNOWN) -> Turn | None:
    """Take the turn; None when somebody else has it or there is no such cursor."""
    return next(iter(take_some(connection, [projection], generation, marks=marks)), None)


def take_some(
    connection: AnyConnection,
    projections: Sequence[str],
    generation: Generation,
    lock_wait: str | None = None,
    marks: Marks = _UNKNOWN,
) -> list[Turn]:
    """Take the turns that nobody else has, of those that have a cursor; from then on wait for no lock longer than
    `lock_wait`.
    """
    wanted: dict[str, Any] = {"projections": list(projections), "generation": generation, "lock_wait": lock_wait}
    wanted["marks"] = [marks.get(projection) for projection in projections]
    rows = connection.execute(_TAKE, wanted).fetchall()
    return [_turn(connection, generation, *row) for row in rows]


def _turn(connection: AnyConnection, generation: Generation, *row: Any) -> Turn:
    projection, version, high, old, old_horizon, young, young_horizon, stored_origin, mark, origin = row
    cursor = Cursor(high, Holes(ranges(old), old_horizon), Holes(ranges(young), young_horizon))
    stale = stored_origin != origin
    if stale:
        cursor = cursor.reanchor(current_xid(connection))
    return Turn(projection, generation, version, cursor, origin, mark, reanchored=stale)


def read(connection: AnyConnection, cursor: Cursor, limit: int) -> Seen:
    """Read what is new to this cursor: the holes that were filled, and up to `limit` events after `high`."""
    late = _read_late(connection, cursor, limit) if cursor.hole_count else ()
    if len(late) == limit:
        # More holes may be filled than were read. An xmin of 0 forgets none of them.
        return Seen(late, cursor.high, cursor.high, 0, (), 0, full=True)
    row = connection.execute(_WINDOW, {"high": cursor.high, "limit": limit}).fetchone()
    assert row is not None
    xmin, count, high, gaps = row
    return Seen(late, cursor.high, high, count, ranges(gaps), xmin, full=count == limit)


def after(connection: AnyConnection, cursor: Cursor, seen: Seen) -> Cursor:
    """Return the cursor that has read what was seen."""
    xid = current_xid(connection) if seen.gaps else 0
    return cursor.advance(seen.late, seen.high, seen.gaps, seen.xmin, xid)


def stand(connection: AnyConnection, versions: Mapping[str, int], generation: Generation, cursor: Cursor) -> bool:
    """Say whether the stored cursors of these projections are all still this one, which has no holes, and of these
    versions.
    """
    named = (",".join(versions), ",".join(map(str, versions.values())), generation, str(cursor.high))
    return _STAND.ask(connection, *(each.encode() for each in named)) == 1


def move(connection: AnyConnection, turn: Turn, cursor: Cursor) -> Marks:
    """Store where the turn's cursor has come to; raise Overtaken when it is not where this turn found it."""
    return move_some(connection, [turn], cursor)


def move_some(connection: AnyConnection, turns: Sequence[Turn], cursor: Cursor) -> Marks:
    """Store where the cursors of these turns, all at the same place, have come to; raise Overtaken when one of them is
    not where its turn found it. Return where their rows stand now.
    """
    first = turns[0]
    if cursor == first.cursor and not any(turn.reanchored for turn in turns):
        return {turn.projection: turn.mark for turn in turns}
    parameters: dict[str, Any] = {
        "projections": [turn.projection for turn in turns],
        "versions": [turn.version for turn in turns],
        "marks": [turn.mark for turn in turns],
        "generation": first.generation,
        "expected_high": first.cursor.high,
        "high": cursor.high,
        "old_holes": multirange(cursor.old.ranges),
        "old_horizon": cursor.old.horizon,
        "young_holes": multirange(cursor.young.ranges),
        "young_horizon": cursor.young.horizon,
        "origin": first.origin,
    }
    moved = connection.execute(_MOVE, parameters).fetchall()
    if len(moved) < len(turns):
        raise Overtaken
    return dict(moved)


def current_xid(connection: AnyConnection) -> int:
    """Return this transaction's xid, which is above that of everyone whose positions its snapshot could have missed."""
    row = connection.execute(_XID).fetchone()
    assert row is not None
    return row[0]


def ranges(holes: Multirange[int] | None) -> tuple[Range, ...]:
    return tuple((hole.lower or 0, hole.upper or 0) for hole in holes or ())


def _read_late(connection: AnyConnection, cursor: Cursor, limit: int) -> tuple[int, ...]:
    rows = connection.execute(_LATE, {"holes": multirange(cursor.holes), "limit": limit})
    return tuple(position for (position,) in rows)
