"""Changing jobs by id or by filter: counted, agreed to, done with progress, and told one by one.

One id is one request, with the errors of its own. Several, or a filter, are one bulk action.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ledger.cli_output import ExitCode, Failure, agree, changed, connect, emit, example, output_option, say
from ledger_projections.cli_doors import JOB_ID, shown
from ledger_projections.cli_progress import progress
from ledger_projections.cli_types import Instant, Words
from ledger_projections.words import PRIORITIES, STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from datetime import timedelta
    from uuid import UUID

    from ledger.client import Ledger
    from ledger_projections.bulk_actions import BulkResult
    from ledger_projections.bulk_requests import BulkAction
    from ledger_projections.queries import Queries

    Command = Callable[..., Any]

PAST = {"cancel": "cancelled", "retry": "retried", "discard": "discarded"}


def in_bulk(command: Command) -> Command:
    """Give a verb its ids, and the safeguards of doing it to many; filters are its own."""
    for option in (
        output_option,
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Count what matches, change nothing."),
        click.option("--all", "everything", is_flag=True, help="Also without any filter."),
        click.option("--reason", help="Why; kept in the event."),
        click.argument("ids", nargs=-1, metavar="[ID]..."),
    ):
        command = option(command)
    return command


@click.command("cancel", epilog=example(f"ledger job cancel {JOB_ID}", "ledger job cancel --queue mail --dry-run"))
@click.option("--state", type=Words(*STATES), default=(), metavar="STATES", help="Such as ready,retrying.")
@click.option("--type", "type_", type=Words(), default=(), metavar="TYPES", help="Job types.")
@click.option("--queue", type=Words(), default=(), metavar="QUEUES")
@click.option("--priority", type=Words(*PRIORITIES), default=(), metavar="PRIORITIES")
@click.option("--created-after", type=Instant(), metavar="TIME")
@click.option("--created-before", type=Instant(), metavar="TIME")
@in_bulk
def cancel_jobs(**chosen: Any) -> None:
    """End jobs that have not ended, by id or by filter; running ones are told to stop. There is no way back."""
    change("cancel", "job", **chosen)


def change(
    verb: str,
    noun: str,
    *,
    ids: tuple[str, ...],
    everything: bool,
    dry_run: bool,
    yes: bool,
    reason: str | None,
    output: str,
    delay: timedelta | None = None,
    **narrowed: Any,
) -> None:
    """Do it to the chosen ones; what is refused is said, and does not stop the rest."""
    narrowed = {name.rstrip("_"): value for name, value in narrowed.items() if value}
    if ids and (everything or narrowed):
        raise click.UsageError("give ids or filters, not both")
    if not (ids or everything or narrowed):
        raise click.UsageError(f"say which: ids, a filter, or --all to {verb} every {noun}")
    with _doors() as (app, queries):
        if len(ids) == 1 and not dry_run:
            _change_one(app, verb, ids[0], {"reason": reason} | ({} if delay is None else {"delay": delay}), output)
            return
        action = _action(verb, {"ids": list(ids)} if ids else narrowed, everything, reason, delay)
        bulk = _Bulk(app, queries, action, noun)
        if not ids or dry_run:
            counted = bulk.count()
            if dry_run or not counted.matched:
                _end(counted, verb, output)
                return
            agree(f"{verb.capitalize()} {_counted(counted.matched, noun)}?", yes=yes)
        _end(bulk.run(quiet=output != "text"), verb, output)


class _Bulk:
    """One bulk action, counted and then done."""

    def __init__(self, app: Ledger, queries: Queries, action: BulkAction, noun: str) -> None:
        self._app, self._queries, self._action, self._noun = app, queries, action, noun
        self._matched = len(action.names)

    def count(self) -> BulkResult:
        counted = self._perform(dry_run=True)
        self._matched = counted.matched
        say(f"{_counted(counted.matched, self._noun)} match{'es' if counted.matched == 1 else ''}")
        return counted

    def run(self, *, quiet: bool) -> BulkResult:
        """Do all of it, and name each changed job on stdout, also if something stops it half way."""
        done: list[UUID] = []
        try:
            with progress(self._action.verb) as advance:

                def told(job_ids: Any) -> None:
                    done.extend(job_ids)
                    advance(len(done), max(self._matched, len(done)))

                # However many there are, and more than were counted.
                return self._perform(limit=sys.maxsize, told=told)
        finally:
            if done and not quiet:
                click.echo("\n".join(f"job/{job_id} {PAST[self._action.verb]}" for job_id in done))

    def _perform(self, *, told: Callable[[Any], None] | None = None, **changes: Any) -> BulkResult:
        import msgspec  # noqa: PLC0415 — the help page needs none of this

        from ledger.cli_output import actor  # noqa: PLC0415
        from ledger_projections.bulk_actions import perform  # noqa: PLC0415

        action = msgspec.structs.replace(self._action, **changes)
        return perform(self._app, self._queries, action, actor=actor(), told=told)


def _change_one(app: Ledger, verb: str, name: str, how: dict[str, Any], output: str) -> None:
    from ledger.errors import VersionConflict  # noqa: PLC0415
    from ledger.resources import job_resource  # noqa: PLC0415

    job_id, _, version = name.partition(":")
    letter = {"if_version": int(version)} if version.isdecimal() and verb != "cancel" else {}
    try:
        job = getattr(app, verb)(job_id if letter else name, **how, **letter)
    except VersionConflict as error:
        if not letter:
            raise
        raise Failure(f"job/{job_id} not {PAST[verb]}: it is no longer dead of {name}", ExitCode.CONFLICT) from error
    status = {"status": "deleted"} if verb == "discard" else {}  # as DELETE /dlq/{id} answers
    changed("job", job.id, PAST[verb], job_resource(job) | status, output)


def _action(
    verb: str, narrowed: dict[str, Any], everything: bool, reason: str | None, delay: timedelta | None
) -> BulkAction:
    import msgspec  # noqa: PLC0415

    from ledger_projections.bulk_requests import Verb, bulk_action  # noqa: PLC0415

    members = {"filter": {name: _plain(value) for name, value in narrowed.items()}, "all": everything}
    action = bulk_action(Verb(verb), members | ({} if reason is None else {"reason": reason}))
    return msgspec.structs.replace(action, delay=delay)


def _plain(value: Any) -> Any:
    from datetime import datetime  # noqa: PLC0415

    from ledger.codec import rfc3339  # noqa: PLC0415

    if isinstance(value, datetime):
        return rfc3339(value)
    return list(value) if isinstance(value, tuple) else value


def _end(result: BulkResult, verb: str, output: str) -> None:
    """Show the result, and fail if a part was refused."""
    if output != "text":
        emit(shown(result), output, str)
    for refusal in result.refused:
        say(f"job/{refusal.id} not {PAST[verb]}: {refusal.detail}")
    if result.refused and not result.dry_run:
        raise Failure(f"{len(result.refused):,} of {result.matched:,} refused", ExitCode.CONFLICT)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@contextmanager
def _doors() -> Generator[tuple[Ledger, Queries]]:
    from ledger.client import Ledger  # noqa: PLC0415
    from ledger_projections.queries import Queries  # noqa: PLC0415

    here = connect()
    app = Ledger(database_url=here.database_url, redis_url=here.redis_url, settings=here.settings, actor=here.actor)
    try:
        yield app, Queries(app.database, silent_after=here.settings.scheduler_stale_job_timeout)
    finally:
        app.close()
