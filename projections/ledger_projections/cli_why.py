"""`ledger job why`: the plain answer to why a job is not running."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ledger.cli_output import coloured, emit, example, output_option, plain
from ledger_projections.cli_doors import JOB_ID, opened, shown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ledger.resources import Resource


@click.command(epilog=example(f"ledger job why {JOB_ID}"))
@click.argument("job_id")
@output_option
def why(job_id: str, output: str) -> None:
    """Say why a job is not running, and what to do."""
    from ledger import ids  # noqa: PLC0415 — the help page needs none of this
    from ledger.errors import JobNotFound  # noqa: PLC0415
    from ledger.postgres import PostgresLog  # noqa: PLC0415
    from ledger_projections import why as answer  # noqa: PLC0415

    found = ids.parse(job_id)
    with opened("ledger-cli") as (here, database):
        history = () if found is None else PostgresLog(database).history(found)
        if not history:
            raise JobNotFound(job_id)
        silent_after = here.settings.scheduler_stale_job_timeout
        reasons = answer.why(database, here.redis_url, history, silent_after=silent_after)
    emit(shown(reasons), output, _render)


def _render(answer: Resource) -> RenderableType:
    lines = [f"job/{answer['job_id']} is {coloured(answer['state'])}"]
    for reason in answer["reasons"]:
        lines.append(f"  {plain(reason['detail'])}")
        if reason["advice"]:
            lines.append(f"  [yellow]→ {plain(reason['advice'])}[/]")
    return "\n".join(lines)
