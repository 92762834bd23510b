"""`ledger scheduler`: the service that does what is due."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from ledger_projections.cli_doors import leave, opened, stopped_by_signals

from ledger.cli_output import example
from ledger.cli_probes import probed, vitals_of_loops

if TYPE_CHECKING:
    from ledger.cli_output import Installation
    from ledger.runtime.database import Database
    from ledger.runtime.probes import Vitals
    from ledger_scheduler.scheduler import Scheduler


@click.command(epilog=example("ledger scheduler", "ledger scheduler --export-to /backup/ledger"))
@click.option(
    "--export-to",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    help="Where to write what EVENT_RETENTION takes out of the log, as CSV.",
)
def scheduler(export_to: Path | None) -> None:
    """Do what is due: delays, retries, schedules, expiry, silent workers, retention.

    Any number may run at once. SIGTERM or Ctrl-C lets the present step end; a second one leaves at once.
    """
    from ledger.runtime import logs  # noqa: PLC0415 — help must not wait for imports
    from ledger.settings import warn_of_ignored  # noqa: PLC0415
    from ledger_scheduler.scheduler import LOOPS, Scheduler  # noqa: PLC0415

    with opened("ledger-scheduler", size=LOOPS) as (here, database), stopped_by_signals() as stop:
        logs.configure(here.settings, "scheduler")
        warn_of_ignored()
        service = Scheduler(database, here.redis_url, here.settings, stop, export_to=export_to)
        with probed(here.settings, lambda: _vitals(here, database, service)):
            ended = service.run()
    leave(ended=ended)


def _vitals(here: Installation, database: Database, service: Scheduler) -> Vitals:
    from ledger_migrations.revisions import newest  # noqa: PLC0415

    from ledger.runtime.exposition import exposition  # noqa: PLC0415

    return vitals_of_loops(here, database, service.loops, newest, exposition(registry=service.registry))
