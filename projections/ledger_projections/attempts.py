"""The `attempts` read model: a row a run, from the lease to what became of it."""

from __future__ import annotations

from ledger.runtime.statements import statement
from ledger_projections.projection import Projection

ATTEMPTS = Projection(
    name="attempts",
    version=2,
    tables=("attempts",),
    create=statement("ledger_projections", "attempts/create"),
    folds=(statement("ledger_projections", "attempts/open"), statement("ledger_projections", "attempts/close")),
)
