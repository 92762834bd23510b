"""The `dead_letters` read model: a row for each job that is dead now, with the failure that killed it."""

from __future__ import annotations

from ledger.runtime.statements import statement
from ledger_projections.projection import Projection

DEAD_LETTERS = Projection(
    name="dead_letters",
    version=1,
    tables=("dead_letters",),
    create=statement("ledger_projections", "dead_letters/create"),
    index=statement("ledger_projections", "dead_letters/index"),
    fold=statement("ledger_projections", "dead_letters/fold"),
)
