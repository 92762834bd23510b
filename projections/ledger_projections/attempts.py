"""The `attempts` read model: a row a run, from the lease to what became of it, and how many began in each minute."""

from __future__ import annotations

from ledger.runtime.statements import statement
from ledger_projections.projection import Projection

ATTEMPTS = Projection(
    name="attempts",
    version=3,
    tables=("attempts", "attempt_minutes"),
    create=statement("ledger_projections", "attempts/create"),
    index=statement("ledger_projections", "attempts/index"),
    fold=statement("ledger_projections", "attempts/fold"),
    is_shared=True,
)
