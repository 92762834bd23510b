"""Jobs a projection cannot fold: set aside with all their later events, shown, and never in the way of the rest.

The generation that is being built parks for itself, for newer code may well fold what the live one could not; `promote`
goes with the swap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from ledger_projections.projection import AnyConnection, Generation

_SELECT = statement("ledger_projections", "select_parked")
_PARK = statement("ledger_projections", "park_job")
_CLEAR = statement("ledger_projections", "clear_parked")
_PROMOTE = statement("ledger_projections", "promote_parked")


def register(projection: str, generation: Generation) -> str:
    """Return the name under which a generation parks."""
    return projection if generation == "live" else f"{projection}@next"


def jobs(connection: AnyConnection, projection: str, generation: Generation) -> tuple[UUID, ...]:
    """Return the jobs that are parked."""
    return jobs_of(connection, [projection], generation).get(projection, ())


def jobs_of(
    connection: AnyConnection, projections: Sequence[str], generation: Generation
) -> dict[str, tuple[UUID, ...]]:
    """Return the jobs that are parked, by projection; one that has none is left out."""
    names = {register(projection, generation): projection for projection in projections}
    found: dict[str, list[UUID]] = {}
    for name, job_id in connection.execute(_SELECT, {"projections": list(names)}):
        found.setdefault(names[name], []).append(job_id)
    return {projection: tuple(job_ids) for projection, job_ids in found.items()}


def park(connection: AnyConnection, projection: str, generation: Generation, position: int, error: str) -> UUID:
    """Set aside the job whose event at this position could not be folded, and return it."""
    parameters = {"projection": register(projection, generation), "position": position, "error": error}
    row = connection.execute(_PARK, parameters).fetchone()
    assert row is not None, f"there is no event at {position} to park"
    return row[0]


def clear(connection: AnyConnection, projection: str, generation: Generation) -> None:
    """Forget what is parked: the read model begins anew."""
    connection.execute(_CLEAR, {"projection": register(projection, generation)})


def promote(connection: AnyConnection, projection: str) -> None:
    """Let what the next generation has parked be what is parked."""
    clear(connection, projection, "live")
    connection.execute(_PROMOTE, {"projection": projection, "next": register(projection, "next")})
