"""The projections that come with the system and live in Postgres."""

from __future__ import annotations

from ledger_projections.attempts import ATTEMPTS
from ledger_projections.dead_letters import DEAD_LETTERS
from ledger_projections.jobs import JOBS
from ledger_projections.queue_stats import QUEUE_STATS

PROJECTIONS = (JOBS, ATTEMPTS, QUEUE_STATS, DEAD_LETTERS)
