"""How far a reader has read a log whose positions become visible out of order, without gaps and without stalls.

Positions come from a sequence and show when their transaction commits, so a reader at 100 may later find 97. The cursor
therefore remembers its holes: the positions below `high` that it has not seen. A hole is read the moment it is filled.
It is forgotten only when nobody can fill it any more, that is when every transaction that had drawn a position by then
has ended. The log guarantees that a transaction has its xid before it draws a position, so "had drawn one by then" is
"has a lower xid than one taken afterwards": the horizon.

Holes come in two generations, each with its horizon. With only one, every new hole would move the horizon on, and
steady overlapping writers would postpone the forgetting for ever. The old generation's horizon stands still until it is
passed; then it is dropped, and the young one takes its place.

Pure arithmetic: who reads the log gives `advance` what was seen in one snapshot.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Range = tuple[int, int]
"""Half-open: (first, last + 1)."""


@dataclass(frozen=True, slots=True)
class Holes:
    """Positions not seen yet, as disjoint rising ranges, and the xid after which they never will be."""

    ranges: tuple[Range, ...] = ()
    horizon: int = 0

    def __contains__(self, position: int) -> bool:
        index = bisect_right(self.ranges, (position, _INFINITE)) - 1
        return index >= 0 and self.ranges[index][0] <= position < self.ranges[index][1]

    def __len__(self) -> int:
        return sum(end - start for start, end in self.ranges)

    def without(self, positions: Iterable[int]) -> Holes:
        """Return these holes less the ones now filled."""
        filled = sorted(position for position in positions if position in self)
        return replace(self, ranges=tuple(_subtract(self.ranges, filled))) if filled else self


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything up to `high` has been read, but for the holes."""

    high: int = 0
    old: Holes = field(default_factory=Holes)
    young: Holes = field(default_factory=Holes)

    @property
    def holes(self) -> tuple[Range, ...]:
        """All open holes, rising. The young generation lies above the old one, except for what a read limit left."""
        return tuple(sorted((*self.old.ranges, *self.young.ranges)))

    @property
    def hole_count(self) -> int:
        return len(self.old) + len(self.young)

    def advance(self, late: Iterable[int], high: int, gaps: tuple[Range, ...], xmin: int, xid: int) -> Cursor:
        """Return the cursor after one read.

        `late`: the holes that were filled. `high`: the highest position read, at least the present one. `gaps`: what
        was missing between the two. `xmin`: of the snapshot the read was made in; every transaction below it has ended.
        `xid`: taken after that snapshot, and so above every transaction that had drawn a position below `high`.
        """
        seen = tuple(late)
        old, young = self.old.without(seen), self.young.without(seen)
        if not old.ranges or xmin > old.horizon:
            old, young = young, Holes()
        if gaps:
            young = Holes((*young.ranges, *gaps), xid)
        return Cursor(max(high, self.high), old, young)

    def reanchor(self, xid: int) -> Cursor:
        """Return the cursor with horizons that mean something in this cluster.

        After a restore or a promotion old xids say nothing; the holes are kept until everyone alive now has ended.
        """
        return Cursor(self.high, replace(self.old, horizon=xid), replace(self.young, horizon=xid))


_INFINITE = 1 << 63


def gaps_between(low: int, positions: Iterable[int]) -> tuple[Range, ...]:
    """Return what is missing between `low` and the last of these rising positions.

    >>> gaps_between(3, [5, 6, 9])
    ((4, 5), (7, 9))
    """
    return tuple(_gaps(low, positions))


def _gaps(low: int, positions: Iterable[int]) -> Iterator[Range]:
    for position in positions:
        if position > low + 1:
            yield low + 1, position
        low = position


def _subtract(ranges: Iterable[Range], filled: list[int]) -> Iterator[Range]:
    index = 0
    for start, end in ranges:
        lower = start
        while index < len(filled) and filled[index] < end:
            if filled[index] > lower:
                yield lower, filled[index]
            lower = filled[index] + 1
            index += 1
        if lower < end:
            yield lower, end
