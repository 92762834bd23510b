"""`ledger schedule`: make schedules, see when they are due, change their course."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ledger.cli_arguments import given_members, read_payload
from ledger.cli_group import RoomGroup
from ledger.cli_jobs import describe
from ledger.cli_output import actor, changed, coloured, connect, emit, example, output_option, plain, table, when

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rich.table import Table

    from ledger.doors import Doors
    from ledger.resources import Resource
    from ledger.schedule import Schedule
    from ledger.schedules import Schedules

_C = TypeVar("_C", bound="Callable[..., Any]")

PAGE = 1000
MOST_TICKS = 100

_name = click.argument("name", metavar="NAME|ID")
_reason = click.option("--reason", help="Why; kept in the audit.")


@click.group(cls=RoomGroup, prefix="schedule.")
def schedule() -> None:
    """Have jobs enqueued by cron expressions."""


def _definition(command: _C) -> _C:
    """Give a command the members of a schedule as options; those not given are None, and left out."""
    options = (
        click.option("--job-type", "--type", "job_type", help="Which handler runs the jobs."),
        click.option("--cron-expression", "--cron", "cron_expression", help='"*/5 * * * *", @daily, or "@every 90s".'),
        click.option("--timezone", help="IANA zone of the expression.  [default: UTC]"),
        click.option("--payload", help="A JSON object, @FILE, or - for stdin.  [default: {}]"),
        click.option("--queue", help="[default: default]"),
        click.option("--priority", help="critical, high, medium or low.  [default: medium]"),
        click.option("--max-retries", type=int, help="Retries after the first run."),
        click.option("--timeout", help="Limit of one run, such as 90s."),
        click.option("--metadata", metavar="KEY=VALUE", multiple=True, help="May be repeated."),
        click.option("--is-active/--paused", "is_active", default=None, help="[default: active]"),
        click.option("--catch-up", help="Of missed ticks: skip, once or all.  [default: once]"),
        click.option("--catch-up-window-seconds", type=float, help="How old a missed tick may be.  [default: 86400]"),
        click.option("--overlap", help="allow, skip or cancel_previous.  [default: allow]"),
        _reason,
    )
    for option in reversed(options):
        command = option(command)
    return command


@schedule.command("list", epilog=example("ledger schedule list", "ledger schedule list --paused"))
@click.option("--is-active/--paused", "is_active", default=None, help="Only those.")
@output_option
def list_schedules(*, is_active: bool | None, output: str) -> None:
    """List the schedules, and when each is due next."""
    with _store() as (store, _):
        found: list[Schedule] = []
        while True:
            page = store.list(is_active=is_active, after=found[-1].name if found else "", limit=PAGE)
            found += page
            if len(page) < PAGE:
                break
    emit([_resource(each) for each in found], output, _table)


@schedule.command(epilog=example("ledger schedule get nightly-report"))
@_name
@output_option
def get(name: str, output: str) -> None:
    """Show a schedule."""
    with _store() as (store, _):
        emit(_resource(store.get(name)), output, describe)


@schedule.command(epilog=example("ledger schedule create nightly --job-type report.build --cron '0 2 * * *'"))
@click.argument("name")
@_definition
@output_option
def create(name: str, reason: str | None, output: str, **given: Any) -> None:
    """Make a schedule; --job-type and --cron are required."""
    members, payload = _members(given)
    with _store() as (store, _):
        made = store.create({"name": name, **members}, payload, from_json=True, actor=actor(), reason=reason)
    changed("schedule", made.name, "created", _resource(made), output)


@schedule.command(epilog=example("ledger schedule update nightly-report --cron '30 2 * * *'"))
@_name
@click.option("--name", "new_name", help="Another name.")
@_definition
@output_option
def update(name: str, new_name: str | None, reason: str | None, output: str, **given: Any) -> None:
    """Change what is given, and nothing else."""
    members, payload = _members(given | {"name": new_name})
    if not members:
        raise click.UsageError("say what to change, such as --cron '30 2 * * *'")
    with _store() as (store, _):
        now = store.update(name, members, payload, from_json=True, actor=actor(), reason=reason)
    changed("schedule", now.name, "updated", _resource(now), output)


@schedule.command(epilog=example("ledger schedule delete nightly-report --reason 'no one reads it'"))
@_name
@_reason
@output_option
def delete(name: str, reason: str | None, output: str) -> None:
    """Take a schedule away; the jobs it has made stay."""
    with _store() as (store, _):
        gone = store.delete(name, reason, actor=actor())
    changed("schedule", gone.name, "deleted", _resource(gone) | {"status": "deleted"}, output)


@schedule.command(epilog=example("ledger schedule pause nightly-report --reason 'the printer is ill'"))
@_name
@_reason
@output_option
def pause(name: str, reason: str | None, output: str) -> None:
    """Let a schedule make no more jobs until it is resumed."""
    with _store() as (store, _):
        now = store.pause(name, reason, actor=actor())
    changed("schedule", now.name, "paused", _resource(now), output)


@schedule.command(epilog=example("ledger schedule resume nightly-report"))
@_name
@_reason
@output_option
def resume(name: str, reason: str | None, output: str) -> None:
    """Let a paused schedule go on; what it missed is not caught up."""
    with _store() as (store, _):
        now = store.resume(name, reason, actor=actor())
    changed("schedule", now.name, "resumed", _resource(now), output)


@schedule.command("run-now", epilog=example("ledger schedule run-now nightly-report"))
@_name
@_reason
@output_option
def run_now(name: str, reason: str | None, output: str) -> None:
    """Make a job of a schedule at once, also while it is paused."""
    from ledger.resources import job_resource  # noqa: PLC0415 — imports the drivers

    with _store() as (store, _):
        job = store.run_now(name, reason, actor=actor())
    changed("job", job.id, "enqueued", job_resource(job), output)


@schedule.command("next", epilog=example("ledger schedule next nightly-report -n 3"))
@_name
@click.option("-n", "--count", type=click.IntRange(1, MOST_TICKS), default=10, help="How many.  [default: 10]")
@output_option
def next_ticks(name: str, count: int, output: str) -> None:
    """Show when a schedule is due next, in UTC and in its own zone."""
    from ledger.schedule import tick_resource  # noqa: PLC0415

    with _store() as (store, doors):
        found = store.get(name)
        ticks = found.ticks_after(doors.now(), count)
    emit([tick_resource(tick, found.zone) for tick in ticks], output, _ticks)


@contextmanager
def _store() -> Generator[tuple[Schedules, Doors]]:
    from ledger.doors import Doors  # noqa: PLC0415
    from ledger.schedules import Schedules  # noqa: PLC0415

    here = connect()
    doors = Doors(database_url=here.database_url, redis_url=here.redis_url, settings=here.settings)
    try:
        yield Schedules(doors), doors
    finally:
        doors.close()


def _members(given: dict[str, Any]) -> tuple[dict[str, Any], bytes | None]:
    """Return what was given as members of a request, and the payload as it was written."""
    members = given_members(given)
    payload = None
    if "payload" in members:
        payload = read_payload(members["payload"])
        members["payload"] = {}  # its bytes are what counts; they are an object, for they have been read
    return members, payload


def _resource(found: Schedule) -> Resource:
    from ledger.schedule import schedule_resource  # noqa: PLC0415

    return schedule_resource(found)


def _table(schedules: list[Resource]) -> Table:
    names = ("Schedule", "Expression", "Zone", "Job type", "Queue", "Next run", "Last run", "Last status")
    rows = table(*names, less=("Queue", "Last status", "Zone", "Last run"))
    for each in schedules:
        words = (each["name"], each["cron_expression"], each["timezone"], each["job_type"], each["queue"])
        due = when(each["next_run_at"]) if each["is_active"] else "paused"
        last = when(each["last_run_at"]), coloured(each["last_run_status"])
        rows.add_row(*map(plain, words), due, *last, style="" if each["is_active"] else "dim")
    return rows


def _ticks(ticks: list[Resource]) -> Table:
    rows = table("At", "Local")
    for each in ticks:
        rows.add_row(when(each["at"]), plain(each["local"]))
    return rows
