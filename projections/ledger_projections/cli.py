"""The commands that look after the read models: the projector, rebuilding, verifying.

What is in them is shown by `cli_lists`, `cli_queues` and `cli_dead_letters`. Modules with drivers in them are imported
when a command runs, so that help answers at once.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ledger.cli_output import ExitCode, Failure, emit, example, output_option, plain, say, table
from ledger.cli_probes import probed, vitals_of_loops
from ledger_projections.cli_doors import leave, opened, stopped_by_signals
from ledger_projections.cli_progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from ledger.cli_output import Installation
    from ledger.runtime.database import Database
    from ledger.runtime.probes import Vitals
    from ledger_projections.projector import Projector
    from ledger_projections.rebuild import Rebuilt


@click.command(epilog=example("ledger projector"))
def projector() -> None:
    """Keep the read models and the dispatch streams up to date."""
    from ledger.runtime import logs  # noqa: PLC0415
    from ledger.settings import warn_of_ignored  # noqa: PLC0415
    from ledger_projections.projector import Projector  # noqa: PLC0415

    with opened("ledger-projector", size=8) as (here, database), stopped_by_signals() as stop:
        logs.configure(here.settings, "projector")
        warn_of_ignored()
        service = Projector(database, here.redis_url, stop)
        with probed(here.settings, lambda: _vitals(here, database, service)):
            ended = service.run()
    leave(ended=ended)


def _vitals(here: Installation, database: Database, service: Projector) -> Vitals:
    from ledger_migrations.revisions import newest  # noqa: PLC0415

    from ledger.runtime.exposition import exposition  # noqa: PLC0415
    from ledger_projections.metrics import Progress, Repairs  # noqa: PLC0415
    from ledger_projections.queries import Queries  # noqa: PLC0415

    queries = Queries(database, silent_after=here.settings.scheduler_stale_job_timeout)
    metrics = exposition(Progress(database, queries), Repairs(service.dispatcher))
    return vitals_of_loops(here, database, service.loops, newest, metrics)


@click.command("rebuild-projections", epilog=example("ledger rebuild-projections", "ledger rebuild-projections jobs"))
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--jobs", type=click.IntRange(1, 64), default=2, help="Partitions at a time.  [default: 2]")
@output_option
def rebuild_projections(names: tuple[str, ...], jobs: int, output: str) -> None:
    """Build read models afresh from the log.

    NAME is jobs, attempts, queue_stats, dead_letters or dispatch; without one, all
    of them. Readers go on with the old ones until the new ones are put in their
    place. Interrupted, the same command goes on where it stopped.
    """
    from ledger_projections.builtin import PROJECTIONS  # noqa: PLC0415
    from ledger_projections.dispatch import request_refill  # noqa: PLC0415
    from ledger_projections.rebuild import rebuild  # noqa: PLC0415

    known = [projection.name for projection in PROJECTIONS]
    for unknown in set(names) - {*known, "dispatch"}:
        raise click.UsageError(f"there is no projection {unknown!r}; there are {', '.join(known)} and dispatch")
    chosen = [projection for projection in PROJECTIONS if not names or projection.name in names]
    with opened("ledger-rebuild", size=jobs + 1) as (here, database), stopped_by_signals() as stop:
        redis_url = here.redis_url if not names or "dispatch" in names else None
        with progress("rebuild") as advance:
            done = rebuild(database, chosen, advance, jobs=jobs, stop=stop)
        if stop.is_set():
            raise Failure("interrupted; the same command goes on from here", ExitCode.INTERRUPTED)
        if done or output != "text":
            emit([_outcome(each) for each in done], output, _rebuilt)
        if redis_url is not None:
            request_refill(redis_url)
            say("dispatch: the projector compares Redis with the ready jobs and adds what is absent")


@click.command(epilog=example("ledger verify", "ledger verify -o json"))
@output_option
def verify(output: str) -> None:
    """Compare the read models and Redis with the log.

    The log is checked against its own rules, then folded afresh and compared with
    the read models and the dispatch streams, all while the system runs. Exit code 1
    if anything differs.
    """
    from ledger_projections.verify import verify as check  # noqa: PLC0415

    with opened("ledger-verify", size=2) as (here, database), progress("verify") as advance:
        checks = check(database, here.redis_url, max_crashes=here.settings.job_max_crashes, on_progress=advance)
    emit([asdict(each) for each in checks], output, _checks)
    differing = sum(each.differing for each in checks)
    if differing:
        raise Failure(f"{differing:,} differences")
    say("no differences", "green")


def _checks(checks: list[dict[str, Any]]) -> RenderableType:
    from rich.console import Group  # noqa: PLC0415

    counts = table("Check", "Checked", "Differing", right=("Checked", "Differing"))
    differences = table("Check", "Job", "Expected", "Found")
    for each in checks:
        style = "bold red" if each["differing"] else "green"
        counts.add_row(each["name"], f"{each['checked']:,}", f"[{style}]{each['differing']:,}[/]")
        for difference in each["differences"]:
            differences.add_row(each["name"], *map(plain, difference.values()))
    return Group(counts, "", differences) if differences.row_count else counts


def _outcome(each: Rebuilt) -> dict[str, Any]:
    """Return what a rebuild made, and how many rows were other than before; both null where there was no before."""
    found = each.comparison
    counts = {"rows": None, "differing": None} if found is None else {"rows": found.rows, "differing": found.differing}
    return {"name": each.projection, **counts}


def _rebuilt(done: Sequence[dict[str, Any]]) -> Table:
    rows = table("Projection", "Rows", "Differed", right=("Rows", "Differed"))
    for each in done:
        compared = each["rows"] is not None
        shown = (f"{each['rows']:,}", f"{each['differing']:,}") if compared else ("–", "nothing to compare with")
        rows.add_row(each["name"], *shown)
    return rows
