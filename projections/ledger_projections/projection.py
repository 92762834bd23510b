"""Projections and what they are given to fold.

A projection is DDL and a fold: common table expressions that write what a batch of events leads to. They read it from
`batch` (`sql/batch.sql`), so that those of several projections make one statement, and their names begin with the
projection's. Tables are named without a schema: the schema is the generation, so the same fold fills the live read
model and the one that is being built beside it. A fold has to come to the same rows however the log is cut into
batches, down to one event each. The events of a job arrive complete and in version order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from ledger.runtime.statements import statement
from ledger.tables import NEXT, READ

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Connection

    from ledger.cursor import Range

    AnyConnection = Connection[Any]

Generation = Literal["live", "next"]

SCHEMAS: dict[Generation, str] = {"live": READ, "next": NEXT}

_BATCH = statement("ledger_projections", "batch")

LOWEST, HIGHEST = UUID(int=0), UUID(int=(1 << 128) - 1)


@dataclass(frozen=True, slots=True)
class Projection:
    name: str
    version: int
    """Of the code: a read model that another version has filled is built anew."""
    tables: tuple[str, ...]
    create: bytes
    """DDL of the tables, each `if not exists`, with the keys of those that a fold adds to by `on conflict`."""
    fold: bytes
    """Common table expressions over `batch`, run on every batch: the first without a comma before it, the last without
    one behind it.
    """
    is_shared: bool = False
    """Whether the fold adds to rows that belong to no single job, so that who folds others at the same time waits."""
    index: bytes = b""
    """DDL of the other keys and of what readers need, each `if not exists`. A rebuild makes these at its end."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some events of the log, named by where they are: a window of positions, and holes that have been filled."""

    low: int
    """The window begins after this position."""
    high: int
    """The window ends with this position."""
    late: tuple[int, ...] = ()
    """Positions outside the window; a job's late events always come before its events in the window."""
    holes: tuple[Range, ...] = ()
    """Positions in the window that another batch brings."""
    parked: tuple[UUID, ...] = ()
    """Jobs to leave out."""
    born_from: UUID = LOWEST
    born_to: UUID = HIGHEST

    @property
    def is_everything(self) -> bool:
        """Whether the batch is one of positions, with the jobs born at any time in it."""
        return self.born_from == LOWEST and self.born_to == HIGHEST

    @property
    def single(self) -> int | None:
        """The position of the only event there can be, or None where there can be several."""
        if len(self.late) == 1 and self.low >= self.high:
            return self.late[0]
        return self.high if not self.late and self.high - self.low == 1 else None

    def halves(self) -> tuple[Batch, Batch]:
        """Return two smaller batches that hold the same events, to be folded in this order."""
        if self.low < self.high and self.late:
            return replace(self, high=self.low), replace(self, late=())
        if self.late:
            middle = len(self.late) // 2
            return replace(self, late=self.late[:middle]), replace(self, late=self.late[middle:])
        middle = (self.low + self.high) // 2
        return replace(self, high=middle), replace(self, low=middle)

    def parameters(self) -> dict[str, Any]:
        return {
            "born_from": self.born_from,
            "born_to": self.born_to,
            "low": self.low,
            "high": self.high,
            "late": list(self.late),
            "holes": multirange(self.holes),
            "parked": list(self.parked),
        }


def fold(connection: AnyConnection, projections: Sequence[Projection], batch: Batch) -> None:
    """Fold the batch into the tables of the schema that was entered, in one statement; any error is the caller's."""
    # Postgres runs the expressions that write from the last to the first: what others wait for is held the shortest.
    folds = tuple(each.fold for each in sorted(projections, key=lambda each: not each.is_shared))
    if batch.is_everything:
        connection.execute(folding(folds), batch.parameters())
    else:
        # Planned for each batch: without its bounds, a range of births looks as narrow as a range of positions.
        connection.execute(folding_lives(folds), batch.parameters(), prepare=False)


@cache
def folding(folds: tuple[bytes, ...]) -> bytes:
    """Return the statement that runs these folds on a batch of positions, as a projector that keeps up reads."""
    return b",\n".join((_BATCH.rstrip(), *(fold.rstrip() for fold in folds))) + b"\nselect\n"


@cache
def folding_lives(folds: tuple[bytes, ...]) -> bytes:
    """Return the statement as a rebuild runs it: on all jobs born in a range, from the first event on."""
    return folding(folds).replace(b"ledger.events_in(", b"ledger.events_born_in(")


def multirange(ranges: tuple[Range, ...]) -> str:
    """Spell ranges as Postgres' int8multirange.

    >>> multirange(((4, 5), (7, 9)))
    '{[4,5),[7,9)}'
    """
    return "{" + ",".join(f"[{start},{end})" for start, end in ranges) + "}"
