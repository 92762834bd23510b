"""`ledger scheduler`: the service that does what is due."""

from __future__ import annotations

import click
from ledger_projections.cli_doors import opened, stopped_by_signals

from ledger.cli_output import example


@click.command(epilog=example("ledger scheduler"))
def scheduler() -> None:
    """Do what is due: delays, retries, schedules, expiry, silent workers.

    Any number may run at once. SIGTERM or Ctrl-C lets the present step end; a second one leaves at once.
    """
    from prometheus_client import REGISTRY  # noqa: PLC0415 — help must not wait for imports

    from ledger.runtime import logs  # noqa: PLC0415
    from ledger_scheduler.scheduler import LOOPS, Scheduler  # noqa: PLC0415

    with opened("ledger-scheduler", size=LOOPS) as (here, database), stopped_by_signals() as stop:
        logs.configure(here.settings, "scheduler")
        Scheduler(database, here.redis_url, here.settings, stop, REGISTRY).run()
