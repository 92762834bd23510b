"""`ledger dlq`: the dead letters, looked at, retried and discarded: one by one or all that match."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ledger.cli_group import RoomGroup
from ledger.cli_output import coloured, emit, example, not_found, output_option, plain, say, table, when
from ledger_projections.cli_bulk import change, in_bulk
from ledger_projections.cli_doors import JOB_ID, reading, shown, span
from ledger_projections.cli_types import Instant, Text, Words, paging

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

    from ledger.resources import Resource
    from ledger_projections.filters import DeadLetterFilter


LONGEST_ERROR = 160
"""Characters of an error in a list."""


@click.group(cls=RoomGroup, prefix="dlq.")
def dlq() -> None:
    """See dead letters; retry or discard them."""


def narrowing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the filters of dead letters."""
    for option in (
        click.option("--error-contains", type=Text(), metavar="TEXT", help="In the error's type or message."),
        click.option("--failed-before", type=Instant(), metavar="TIME"),
        click.option("--failed-after", type=Instant(), metavar="TIME"),
        click.option("--queue", type=Words(), default=(), metavar="QUEUES"),
        click.option("--type", "type_", type=Words(), default=(), metavar="TYPES", help="Job types."),
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
@narrowing
@in_bulk
def retry_dead_letters(delay: str | None, **chosen: Any) -> None:
    """Give dead jobs a new budget, by id or by filter."""
    change("retry", "dead letter", delay=None if delay is None else span(delay, "--delay"), **chosen)


@dlq.command("discard", epilog=example(f"ledger dlq discard {JOB_ID}", "ledger dlq discard --type report --dry-run"))
@narrowing
@in_bulk
def discard_dead_letters(**chosen: Any) -> None:
    """Give dead jobs up for good, by id or by filter. There is no way back."""
    change("discard", "dead letter", **chosen)


def _filter(given: dict[str, Any]) -> DeadLetterFilter:
    from ledger_projections.filters import DeadLetterFilter  # noqa: PLC0415

    members = {name: value for name, value in given.items() if name not in ("type_", "queue")}
    return DeadLetterFilter(types=given["type_"], queues=given["queue"], **members)


def _dead_letters(letters: list[Resource]) -> Table:
    rows = table(
        "ID", "Type", "Queue", "Reason", "Runs", "Error", "Died", right=("Runs",), less=("Runs", "Queue", "Reason")
    )
    for each in letters:
        rows.add_row(
            each["job_id"],
            plain(each["job_type"]),
            plain(each["queue"]),
            coloured(each["reason"]),
            str(each["attempt"]),
            plain(_headline(each)),
            when(each["failed_at"]),
        )
    return rows


def _headline(letter: Resource) -> str | None:
    """Return the error in one line; `dlq get` shows all of it."""
    if letter["error_type"] is None:
        return None
    first, *more = str(letter["error_message"]).splitlines() or [""]
    cut = f"{letter['error_type']}: {first}"[:LONGEST_ERROR]
    return cut + ("…" if more or len(cut) == LONGEST_ERROR else "")
