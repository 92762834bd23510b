"""Lists from the read models: `ledger job list`, `execution list`, `projection list` and `stats`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ledger.cli_output import (
    ExitCode,
    Failure,
    coloured,
    emit,
    example,
    output_option,
    plain,
    say,
    table,
    when,
)
from ledger_projections.cli_doors import JOB_ID, opened, reading
from ledger_projections.cli_types import Id, Instant, Text, Words, paging
from ledger_projections.words import PRIORITIES, RUN_STATES, STATES

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from rich.table import Table

    from ledger.job import JobState
    from ledger.resources import Resource
    from ledger_projections.paging import Page


@click.command("list", epilog=example("ledger job list --state retrying,dead --queue mail"))
@click.option("--state", type=Words(*STATES), default=(), metavar="STATES", help="Such as ready,running.")
@click.option("--type", "type_", type=Words(), default=(), metavar="TYPES", help="Job types.")
@click.option("--queue", type=Words(), default=(), metavar="QUEUES")
@click.option("--priority", type=Words(*PRIORITIES), default=(), metavar="PRIORITIES")
@click.option("--worker-id", type=Text(), help="Running there now.")
@click.option("--correlation-id", type=Text())
@click.option("--schedule-id", type=Id(), metavar="ID", help="Made by this schedule.")
@click.option("--created-after", type=Instant(), metavar="TIME")
@click.option("--created-before", type=Instant(), metavar="TIME")
@click.option("--order", type=click.Choice(["desc", "asc"]), default="desc", help="[default: desc, newest first]")
@click.option("--include", type=click.Choice(["payload"]), help="In JSON; then at most 100 a page.")
@paging
@output_option
def list_jobs(
    state: tuple[str, ...],
    type_: tuple[str, ...],
    queue: tuple[str, ...],
    priority: tuple[str, ...],
    order: str,
    include: str | None,
    limit: int,
    cursor: str | None,
    output: str,
    **given: Any,
) -> None:
    """List jobs, newest first."""
    if include and limit > MOST_PAYLOADS:
        raise click.UsageError(f"with --include payload, --limit is {MOST_PAYLOADS} at most")
    from ledger.events import Priority  # noqa: PLC0415
    from ledger.resources import job_resource  # noqa: PLC0415
    from ledger_projections.filters import JobFilter  # noqa: PLC0415

    filters = JobFilter(
        states=state,
        types=type_,
        queues=queue,
        priorities=tuple(map(Priority.from_word, priority)),
        oldest_first=order == "asc",
        **given,
    )
    with reading() as queries:
        page: Page[JobState] = _page(
            lambda: queries.list_jobs(filters, limit=limit, cursor=cursor, with_payload=include is not None)
        )
    emit([job_resource(job, payload=include is not None) for job in page.items], output, _jobs)
    any_job = JobFilter(oldest_first=filters.oldest_first)
    _mention_next(page, _NO_JOBS if filters == any_job and cursor is None else "No jobs match.")


MOST_PAYLOADS = 100
_NO_JOBS = "No jobs yet: `ledger job enqueue example.hello`."


@click.group()
def execution() -> None:
    """See the attempts: which run, where, how long."""


@execution.command(
    "list", epilog=example("ledger execution list --state failed,crashed", f"ledger execution list {JOB_ID}")
)
@click.argument("job_id", required=False)
@click.option("--state", type=Words(*RUN_STATES), default=(), metavar="STATES", help="Such as failed,crashed.")
@click.option("--type", "type_", type=Words(), default=(), metavar="TYPES", help="Job types.")
@click.option("--queue", type=Words(), default=(), metavar="QUEUES")
@click.option("--worker-id", type=Text())
@click.option("--started-after", type=Instant(), metavar="TIME")
@click.option("--started-before", type=Instant(), metavar="TIME")
@paging
@output_option
def list_executions(
    job_id: str | None,
    state: tuple[str, ...],
    type_: tuple[str, ...],
    queue: tuple[str, ...],
    limit: int,
    cursor: str | None,
    output: str,
    **given: Any,
) -> None:
    """List attempts, the latest started first; with JOB_ID, those of one job."""
    from ledger_projections.filters import ExecutionFilter  # noqa: PLC0415
    from ledger_projections.views import resource  # noqa: PLC0415

    job = None if job_id is None else _known(job_id)
    filters = ExecutionFilter(job_id=job, states=state, types=type_, queues=queue, **given)
    with reading() as queries:
        page = _page(lambda: queries.list_executions(filters, limit=limit, cursor=cursor))
    emit([resource(view) for view in page.items], output, _executions)
    _mention_next(page, "No attempts match.")


@click.group()
def projection() -> None:
    """See how far behind each read model is."""


@projection.command("list", epilog=example("ledger projection list"))
@output_option
def list_projections(output: str) -> None:
    """List the projections and their lag."""
    from ledger_projections.views import resource  # noqa: PLC0415

    with reading() as queries:
        emit([resource(view) for view in queries.list_projections()], output, _projections)


@click.command(epilog=example("ledger stats", "ledger stats -o json"))
@output_option
def stats(output: str) -> None:
    """See the numbers of the last day."""
    from ledger_projections.views import resource  # noqa: PLC0415

    with reading() as queries:
        emit(resource(queries.stats()), output, _stats)


def _known(job_id: str) -> UUID:
    """Return the id of a job that there is."""
    from ledger import ids  # noqa: PLC0415
    from ledger.errors import JobNotFound  # noqa: PLC0415
    from ledger.postgres import PostgresLog  # noqa: PLC0415

    found = ids.parse(job_id)
    with opened("ledger-cli") as (_, database):
        if found is None or not PostgresLog(database).history(found):
            raise JobNotFound(job_id)
    return found


def _page(read: Callable[[], Page[Any]]) -> Page[Any]:
    try:
        return read()
    except ValueError as error:  # a cursor that is none, or of another list
        raise Failure(f"cursor: {error}", ExitCode.USAGE) from error


def _mention_next(page: Page[Any], nothing: str) -> None:
    if page.next_cursor is not None:
        say(f"more: --cursor {page.next_cursor}", "dim")
    elif not page.items:
        say(nothing, "dim")


def _jobs(jobs: list[Resource]) -> Table:
    rows = table(
        "ID",
        "Type",
        "Queue",
        "Priority",
        "State",
        "Runs",
        "Created",
        right=("Runs",),
        less=("Runs", "Priority", "Queue"),
    )
    for job in jobs:
        rows.add_row(
            job["id"],
            plain(job["type"]),
            plain(job["queue"]),
            coloured(job["priority"]),
            coloured(job["state"]),
            str(job["attempt"]),
            when(job["created_at"]),
        )
    return rows


def _executions(attempts: list[Resource]) -> Table:
    names = ("ID", "Type", "State", "Run", "Wait", "Took", "Error", "Started")
    rows = table(*names, right=("Run", "Wait", "Took"), less=("Wait", "Run", "Took", "Error"))
    for attempt in attempts:
        rows.add_row(
            attempt["id"],
            plain(attempt["job_type"]),
            coloured(attempt["state"]),
            str(attempt["attempt"]),
            _milliseconds(attempt["wait_ms"]),
            _milliseconds(attempt["duration_ms"]),
            plain(attempt["error_type"]),
            when(attempt["started_at"]),
        )
    return rows


def _projections(projections: list[Resource]) -> Table:
    names = ("Projection", "Version", "Status", "Position", "Head", "Events behind", "Seconds behind", "Parked")
    rows = table(*names, right=names[3:], less=("Version", "Position"))
    for each in projections:
        style = {"live": "green", "building": "yellow"}.get(each["status"], "bold red")
        numbers = (each["position"], each["head"], each["lag_events"])
        shown = (*(f"{number:,}" for number in numbers), f"{each['lag_seconds']:.1f}", str(each["parked"]))
        rows.add_row(each["name"], str(each["version"]), f"[{style}]{each['status']}[/]", *shown)
    return rows


def _stats(numbers: Resource) -> Table:
    rows = table("", "Count", right=("Count",))
    for state, count in numbers["jobs"].items():
        rows.add_row(f"jobs {coloured(state)}", f"{count:,}")
    for state, count in numbers["executions_24h"].items():
        if state not in ("completed", "avg_duration_ms"):
            rows.add_row(f"attempts in 24 h: {coloured(state)}", f"{count:,}")
    rows.add_row("average run", _milliseconds(numbers["executions_24h"]["avg_duration_ms"]))
    return rows


def _milliseconds(value: float | None) -> str:
    from datetime import timedelta  # noqa: PLC0415

    from ledger.durations import in_words  # noqa: PLC0415

    return "–" if value is None else in_words(timedelta(milliseconds=value))
