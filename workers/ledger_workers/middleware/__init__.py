"""What surrounds every run: one concern a file, each `(job, call_next) -> result`, outermost first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger_workers.middleware.logging import Logging
from ledger_workers.middleware.metrics import Metrics
from ledger_workers.middleware.recovery import recovery
from ledger_workers.middleware.timeout import timeout
from ledger_workers.middleware.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.handlers import Middleware
    from ledger_workers.metrics import Meters


def shipped(meters: Meters) -> Sequence[Middleware]:
    """Return the middleware that every worker has; users' come inside of them."""
    return (recovery, Logging(), timeout, Metrics(meters), Tracing())
