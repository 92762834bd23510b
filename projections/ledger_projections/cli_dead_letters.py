"""`ledger dlq`: the dead letters, looked at, retried and discarded: one by one or all that match."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ledger.cli_group import RoomGroup
from ledger.cli_output import (
    ExitCode,
    Failure,
    actor,
    agree,
    changed,
    coloured,
    connect,
    emit,
    example,
    not_found,
    output_option,
    plain,
    say,
    table,
    when,
)
from ledger.errors import CommandRefused, JobNotFound, VersionConflict
from ledger_projections.cli_doors import reading, shown, span
from ledger_projections.cli_lists import Instant, Words, paging

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

    from ledger.client import Ledger
    from ledger.job import JobState
    from ledger.resources import Resource
    from ledger_projections.filters import DeadLetterFilter

    Act = Callable[..., JobState]

JOB_ID = "019f7c3e-5a10-7000-8000-000000000000"
LARGEST_BULK = 10_000


@click.group(cls=RoomGroup, prefix="dlq.")
def dlq() -> None:
    """See dead letters; retry or discard them."""


def narrowing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the filters of dead letters."""
    for option in (
        click.option("--error-contains", metavar="TEXT", help="In the error's type or message."),
        click.option("--failed-before", type=Instant(), metavar="TIME"),
        click.option("--failed-after", type=Instant(), metavar="TIME"),
        click.option("--queue", type=Words(), default=(), metavar="QUEUES"),
        click.option("--type", "type_", type=Words(), default=(), metavar="TYPES", help="Job types."),
    ):
        command = option(command)
    return command


def in_bulk(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb its ids, or the filters and the safeguards of doing it to many."""
    for option in (
        output_option,
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Count what matches, change nothing."),
        click.option("--all", "everything", is_flag=True, help="Also without any filter."),
        narrowing,
        click.option("--reason", help="Why; kept in the event."),
        click.argument("ids", nargs=-1, metavar="[ID]..."),
    ):
        command = option(command)
    return command


@dlq.command("list", epilog=example("ledger dlq list --queue mail --error-contains timeout"))
@narrowing
@paging
@output_option
def list_dead_letters(limit: int, cursor: str | None, output: str, **given: Any) -> None:
    """List the jobs that are dead now, the latest first."""
    with reading() as queries:
        page = queries.list_dead_letters(_filter(given), limit=limit, cursor=cursor)
    emit([shown(letter) for letter in page.items], output, _dead_letters)
    if page.next_cursor is not None:
        say(f"more: --cursor {page.next_cursor}", "dim")
    elif not page.items:
        say("No dead letters match." if any(given.values()) else "No dead letters.", "dim")


@dlq.command("get", epilog=example(f"ledger dlq get {JOB_ID}"))
@click.argument("id_", metavar="ID")
@output_option
def get_dead_letter(id_: str, output: str) -> None:
    """Show a dead letter, by its own id or its job's."""
    from ledger.cli_jobs import describe  # noqa: PLC0415

    with reading() as queries:
        letter = queries.get_dead_letter(id_)
    if letter is None:
        not_found(f"job not found in DLQ: {id_}")
    emit(shown(letter), output, describe)


@dlq.command("retry", epilog=example(f"ledger dlq retry {JOB_ID}", "ledger dlq retry --queue mail --dry-run"))
@click.option("--delay", help="Wait so long first, such as 10m.")
@in_bulk
def retry_dead_letters(delay: str | None, reason: str | None, **chosen: Any) -> None:
    """Give dead jobs a new budget, by id or by filter."""
    wait = None if delay is None else span(delay, "--delay")

    def retry(app: Ledger, job_id: str, **how: Any) -> JobState:
        return app.retry(job_id, reason, wait, **how)

    _change("retry", "retried", retry, **chosen)


@dlq.command("discard", epilog=example(f"ledger dlq discard {JOB_ID}", "ledger dlq discard --type report --dry-run"))
@in_bulk
def discard_dead_letters(reason: str | None, **chosen: Any) -> None:
    """Give dead jobs up for good, by id or by filter. There is no way back."""

    def discard(app: Ledger, job_id: str, **how: Any) -> JobState:
        return app.discard(job_id, reason, **how)

    _change("discard", "discarded", discard, **chosen)


def _change(verb: str, past: str, act: Act, *, dry_run: bool, yes: bool, output: str, **chosen: Any) -> None:
    """Do it to each of the chosen ones; what is refused is said, and does not stop the rest."""
    ids = _chosen(verb, **chosen)
    if not chosen["ids"]:
        say(f"{len(ids):,} dead letters match{'; there may be more' if len(ids) == LARGEST_BULK else ''}")
    if dry_run or not ids:
        return
    if not chosen["ids"]:
        agree(f"{verb.capitalize()} {len(ids):,} dead letters?", yes=yes)
    app = _ledger()
    try:
        refusals = [refusal for id_ in ids if (refusal := _change_one(app, id_, past, act, output)) is not None]
    finally:
        app.close()
    if refusals:
        raise Failure(f"{len(refusals):,} of {len(ids):,} refused", max(refusals))


def _chosen(verb: str, *, ids: tuple[str, ...], everything: bool, **narrowed: Any) -> tuple[str, ...]:
    if ids and (everything or any(narrowed.values())):
        raise click.UsageError("give ids or filters, not both")
    if ids:
        return ids
    if not everything and not any(narrowed.values()):
        raise click.UsageError(f"say which: ids, a filter, or --all to {verb} every dead letter")
    with reading() as queries:
        return tuple(str(match.job_id) for match in queries.matching(_filter(narrowed), LARGEST_BULK))


def _change_one(app: Ledger, id_: str, past: str, act: Act, output: str) -> ExitCode | None:
    """Change one dead letter and say so; return why not, when it was refused."""
    from ledger.resources import job_resource  # noqa: PLC0415

    job_id, _, version = id_.partition(":")
    demanded = {"if_version": int(version)} if version.isdecimal() else {}
    try:
        job = act(app, job_id, actor=actor(), **demanded)
    except JobNotFound as error:
        say(str(error))
        return ExitCode.NOT_FOUND
    except (CommandRefused, VersionConflict) as error:
        say(f"job/{job_id} not {past}: {error}")
        return ExitCode.CONFLICT
    changed("job", job_id, past, job_resource(job), output)
    return None


def _ledger() -> Ledger:
    from ledger.client import Ledger  # noqa: PLC0415

    here = connect()
    return Ledger(database_url=here.database_url, redis_url=here.redis_url, settings=here.settings, actor=here.actor)


def _filter(given: dict[str, Any]) -> DeadLetterFilter:
    from ledger_projections.filters import DeadLetterFilter  # noqa: PLC0415

    members = {name: value for name, value in given.items() if name not in ("type_", "queue")}
    return DeadLetterFilter(types=given["type_"], queues=given["queue"], **members)


def _dead_letters(letters: list[Resource]) -> Table:
    rows = table("ID", "Type", "Queue", "Reason", "Runs", "Error", "Died", right=("Runs",))
    for each in letters:
        error = each["error_type"] and f"{each['error_type']}: {each['error_message']}"
        rows.add_row(
            each["job_id"],
            plain(each["job_type"]),
            plain(each["queue"]),
            coloured(each["reason"]),
            str(each["attempt"]),
            plain(error),
            when(each["failed_at"]),
        )
    return rows
