"""Projections and what they are given to fold.

A projection is DDL and a few set-based statements over a batch of events. It names its tables without a schema: the
schema is the generation, so the same statements fill the live read model and the one that is being built beside it.
Each statement reads its batch through `ledger.events_in`, and has to come to the same rows however the log is cut into
batches, down to one event each. The events of a job arrive complete and in version order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from ledger.tables import NEXT, READ

if TYPE_CHECKING:
    from psycopg import Connection

    from ledger.cursor import Range

    AnyConnection = Connection[Any]

Generation = Literal["live", "next"]

SCHEMAS: dict[Generation, str] = {"live": READ, "next": NEXT}

LOWEST, HIGHEST = UUID(int=0), UUID(int=(1 << 128) - 1)


@dataclass(frozen=True, slots=True)
class Projection:
    name: str
    version: int
    """Of the code: a read model that another version has filled is built anew."""
    tables: tuple[str, ...]
    create: bytes
    """DDL of the tables with the keys that the folds rely on, each `if not exists`."""
    folds: tuple[bytes, ...]
    """Run in this order on every batch. They read it as a projector that keeps up does, through `ledger.events_in`."""
    index: bytes = b""
    """DDL of further indexes, each `if not exists`: for readers only, so that a rebuild can make them at its end."""

    @property
    def folds_of_lives(self) -> tuple[bytes, ...]:
        """The same statements as a rebuild runs them: on all jobs born in a range, from the first event on."""
        return tuple(fold.replace(b"ledger.events_in(", b"ledger.events_born_in(") for fold in self.folds)


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


def fold(connection: AnyConnection, projection: Projection, batch: Batch) -> None:
    """Fold the batch into the tables of the schema that was entered; any error is the caller's."""
    parameters = batch.parameters()
    if batch.is_everything:
        for statement in projection.folds:
            connection.execute(statement, parameters)
    else:
        for statement in projection.folds_of_lives:
            # Planned for each batch: without its bounds, a range of births looks as narrow as a range of positions.
            connection.execute(statement, parameters, prepare=False)


def multirange(ranges: tuple[Range, ...]) -> str:
    """Spell ranges as Postgres' int8multirange.

    >>> multirange(((4, 5), (7, 9)))
    '{[4,5),[7,9)}'
    """
    return "{" + ",".join(f"[{start},{end})" for start, end in ranges) + "}"
