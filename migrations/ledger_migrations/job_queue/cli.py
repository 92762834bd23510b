"""`ledger import job-queue`: the takeover as a command."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from ledger.cli_output import ExitCode, Failure, connect, emit, example, output_option, plain, say, table
from ledger.errors import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import RenderableType

REDIS, DATABASE = "SOURCE_REDIS_URL", "SOURCE_DATABASE_URL"
TOLD_EVERY = 2.0


@click.group("import")
def importing() -> None:
    """Take over the data of another system."""


@importing.command("job-queue", epilog=example("ledger import job-queue --dry-run", "ledger import job-queue"))
@click.option("--dry-run", is_flag=True, help="Read and check everything, change nothing.")
@output_option
def job_queue(output: str, *, dry_run: bool) -> None:
    """Take over jobs, dead letters and schedules of job-queue.

    Where it is say SOURCE_REDIS_URL and SOURCE_DATABASE_URL, or one of them. It is
    only read; stop it first, or it runs what is taken over as well. Jobs that had
    not ended begin anew; old ids are kept as `imported_id` in the metadata. Run
    again, it adds what was not taken yet, and nothing twice.
    """
    from ledger.client import Ledger  # noqa: PLC0415 — and below: help needs no drivers
    from ledger_migrations.job_queue.takeover import Takeover  # noqa: PLC0415

    source = _source()
    here = connect()
    ledger = Ledger(database_url=here.database_url, redis_url=here.redis_url, settings=here.settings)
    try:
        report = Takeover(ledger, here.actor, _telling(), dry_run=dry_run).run(source)
    finally:
        ledger.close()
    emit(report, output, _render)
    if dry_run:
        say("Nothing was changed.")
    if report.refused:
        raise Failure(f"{len(report.refused):,} could not be taken over", ExitCode.CONFLICT)


def _source() -> Any:
    from ledger.setting_values import database_url, redis_url  # noqa: PLC0415
    from ledger.settings import environment  # noqa: PLC0415
    from ledger_migrations.job_queue.source import Source  # noqa: PLC0415

    given = environment()
    if not given.keys() & {REDIS, DATABASE}:
        raise click.UsageError(f"say where job-queue's data are: set {REDIS} and {DATABASE}, or one of them")
    return Source(_url(given, REDIS, redis_url), _url(given, DATABASE, database_url))


def _url(given: Mapping[str, str], name: str, read: Callable[[str], str]) -> str | None:
    """Return what a variable names, judged as our own of its kind."""
    if name not in given:
        return None
    try:
        return read(given[name].strip())
    except ValueError as error:
        raise InvalidSettings([f"{name}: {error}"]) from error


def _telling() -> Callable[[str], None]:
    """Return what passes progress on to stderr, now and then."""
    last = time.monotonic()

    def tell(progress: str) -> None:
        nonlocal last
        if time.monotonic() - last >= TOLD_EVERY:
            last = time.monotonic()
            say(progress, "dim")

    return tell


def _render(report: Any) -> RenderableType:
    from rich.console import Group  # noqa: PLC0415

    names = ("found", "imported", "already_there", "ended", "refused")
    titles = ("Found", "To import" if report.dry_run else "Imported", "Already there", "Ended", "Refused")
    counts = table("", *titles, right=titles)
    for kind in ("jobs", "dead_letters", "schedules"):
        tally = getattr(report, kind)
        counts.add_row(kind.replace("_", " "), *(f"{getattr(tally, name):,}" for name in names))
    refused = table("Refused", "ID", "Why")
    for each in report.refused:
        refused.add_row(each.kind, plain(each.id), plain(each.detail))
    return Group(counts, "", refused) if report.refused else counts
