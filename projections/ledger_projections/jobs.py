"""The `jobs` read model: a row a job with its present state, the base of lists, due jobs and open leases."""

from __future__ import annotations

from ledger.runtime.statements import statement
from ledger_projections.projection import Projection

JOBS = Projection(
    name="jobs",
    version=3,
    tables=("jobs", "job_births"),
    create=statement("ledger_projections", "jobs/create"),
    index=statement("ledger_projections", "jobs/index"),
    fold=statement("ledger_projections", "jobs/fold"),
)
