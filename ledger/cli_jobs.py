"""`ledger job`: make a job, see its history, change its course.

`job list` and `job cancel`, which choose by filter too, are added by the room of the read models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import orjson

from ledger.cli_arguments import given_members, json_object, read_payload
from ledger.cli_group import RoomGroup
from ledger.cli_output import (
    ExitCode,
    Failure,
    actor,
    changed,
    coloured,
    connect,
    emit,
    emit_json,
    example,
    output_option,
    plain,
    when,
)
from ledger.durations import parse
from ledger.errors import Breach, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rich.table import Table

    from ledger.client import Ledger
    from ledger.events import Entry
    from ledger.resources import Resource

JOB_ID = "019f7c3e-5a10-7000-8000-000000000000"


@click.group(cls=RoomGroup, prefix="job.", context_settings={"help_option_names": ["-h", "--help"]})
def job() -> None:
    """Enqueue jobs, see what happened to them, change their course."""


@job.command(epilog=example('ledger job enqueue email.send --payload \'{"to": "a@b.c"}\' --delay 5m'))
@click.argument("type_", metavar="TYPE")
@click.option("--payload", default="{}", help="A JSON object, @FILE, or - for stdin.  [default: {}]")
@click.option("--queue", help="[default: default]")
@click.option("--priority", help="critical, high, medium or low.  [default: medium]")
@click.option("--max-retries", type=int, help="Retries after the first run.")
@click.option("--timeout", help="Limit of one run, such as 90s.")
@click.option("--delay", help="Run after so long, such as 5m.")
@click.option("--scheduled-at", metavar="TIME", help="Run at a time, RFC 3339 with offset.")
@click.option("--expires-at", metavar="TIME", help="Cancel unless started by then.")
@click.option("--deadline", metavar="TIME", help="Never run past then.")
@click.option("--retry", metavar="JSON", help='Such as {"backoff": "linear", "base": "2s"}.')
@click.option("--metadata", metavar="KEY=VALUE", multiple=True, help="May be repeated.")
@click.option("--idempotency-key", help="The same key and request make one job only.")
@click.option("--correlation-id", help="[default: the job's id]")
@click.option("--id", "id_", help="A UUIDv7 of your own.")
@click.option("--payload-version", type=int, help="Which shape of the payload this is.  [default: 1]")
@click.option("--wait", is_flag=True, help="Wait for the end; exit code 1 unless it succeeded.")
@output_option
def enqueue(type_: str, payload: str, wait: bool, output: str, **given: Any) -> None:
    """Make a job."""
    ledger = _ledger()
    members: dict[str, Any] = {"type": type_, **given_members(given)}
    members |= {"id": members.pop("id_")} if "id_" in members else {}
    members |= {"retry": json_object(members["retry"], "/retry")} if "retry" in members else {}
    body = read_payload(payload)
    made = ledger.submit(ledger.checked(members, body), actor=actor())
    job_id = str(made.job_id)
    if not wait or output == "text":
        resource = _of(ledger.get(job_id))
        past = "enqueued already" if made.replayed else "scheduled" if resource["state"] == "scheduled" else "enqueued"
        changed("job", job_id, past, resource, output)
    if wait:
        _wait(ledger, job_id, output)


@job.command(epilog=example(f"ledger job get {JOB_ID}", f"ledger job get {JOB_ID} --version 3"))
@click.argument("job_id")
@click.option("--version", type=click.IntRange(min=1), help="As it was after so many events.")
@click.option("--as-of", metavar="TIME", help="As it was at a time, RFC 3339 with offset.")
@output_option
def get(job_id: str, version: int | None, as_of: str | None, output: str) -> None:
    """Show a job as it is now, or as it was."""
    if version is not None and as_of is not None:
        raise click.UsageError("give either --version or --as-of")
    emit(_as_it_was(job_id, version, _instant(as_of, "/as_of")), output, describe)
    if output == "text" and version is None and as_of is None:
        _notes().show_latest(_ledger(), job_id)


@job.command(epilog=example(f"ledger job events {JOB_ID} --follow"))
@click.argument("job_id")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@output_option
def events(job_id: str, follow: bool, output: str) -> None:
    """Show everything that ever happened to a job, as a timeline."""
    ledger = _ledger()
    if follow:
        from ledger.cli_following import follow_job  # noqa: PLC0415

        follow_job(ledger, job_id, output)
    else:
        emit(_event_resources(ledger.history(job_id)), output, _timeline)
        if output == "text":
            _notes().show_all(ledger, job_id)


@job.command(epilog=example(f"ledger job at {JOB_ID} --version 3"))
@click.argument("job_id")
@click.option("--version", type=click.IntRange(min=1), help="After so many events.")
@click.option("--time", "time_", metavar="TIME", help="At a time, RFC 3339 with offset.")
@output_option
def at(job_id: str, version: int | None, time_: str | None, output: str) -> None:
    """Show a job as it was at a version or a time."""
    if (version is None) == (time_ is None):
        raise click.UsageError("give either --version or --time")
    emit(_as_it_was(job_id, version, _instant(time_, "/time")), output, describe)


@job.command(epilog=example(f"ledger job retry {JOB_ID} --delay 10m"))
@click.argument("job_id")
@click.option("--delay", help="Wait so long first, such as 10m.")
@click.option("--reason", help="Why; kept in the event.")
@output_option
def retry(job_id: str, delay: str | None, reason: str | None, output: str) -> None:
    """Give a dead job a new budget of retries."""
    wait = _span(delay) if delay is not None else None
    state = _ledger().retry(job_id, reason=reason, delay=wait, actor=actor())
    changed("job", job_id, "retried", _of(state), output)


@job.command("run-now", epilog=example(f"ledger job run-now {JOB_ID}"))
@click.argument("job_id")
@click.option("--reason", help="Why; kept in the event.")
@output_option
def run_now(job_id: str, reason: str | None, output: str) -> None:
    """Make a scheduled or retrying job ready before its time."""
    state = _ledger().run_now(job_id, reason=reason, actor=actor())
    changed("job", job_id, "made ready", _of(state), output)


def describe(resource: Resource) -> Table:
    """Draw a job as names and values; what it has not got is left out."""
    from rich.table import Table  # noqa: PLC0415

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in resource.items():
        if value is not None and value != {}:
            table.add_row(name.replace("_", " "), _value(name, value))
    return table


def _value(name: str, value: Any) -> str:
    if name in ("state", "priority"):
        return coloured(value)
    if name.endswith("_at"):
        return when(value)
    if isinstance(value, str):
        return plain(value)
    return plain(orjson.dumps(value).decode())


def _ledger() -> Ledger:
    from ledger.client import Ledger  # noqa: PLC0415 — imports the drivers

    here = connect()
    return Ledger(database_url=here.database_url, redis_url=here.redis_url, settings=here.settings, actor=here.actor)


def _as_it_was(job_id: str, version: int | None, moment: datetime | None) -> Resource:
    """Return the job after so many events, or at a time; with neither, as it is."""
    history = [
        entry
        for entry in _ledger().history(job_id)
        if (version is None or entry.version <= version) and (moment is None or entry.at <= moment)
    ]
    if not history or (version is not None and history[-1].version < version):
        raise Failure(f"job {job_id} was not there yet, or has had no such version", ExitCode.NOT_FOUND)
    return _folded(history)


def _of(state: Any) -> Resource:
    from ledger.resources import job_resource  # noqa: PLC0415

    return job_resource(state)


def _folded(history: Sequence[Entry]) -> Resource:
    from ledger.job import fold  # noqa: PLC0415

    return _of(fold(history))


def _event_resources(history: Sequence[Entry]) -> list[Resource]:
    from ledger.resources import event_resource  # noqa: PLC0415

    return [event_resource(entry) for entry in history]


def _notes() -> Any:
    from ledger import cli_notes  # noqa: PLC0415 — imports the log

    return cli_notes


def _timeline(events: Sequence[Resource]) -> Table:
    from ledger.timeline import timeline  # noqa: PLC0415

    return timeline(events)


def _wait(ledger: Ledger, job_id: str, output: str) -> None:
    """Wait until the job has ended, and fail unless it succeeded. As JSON it is told once: as it ended."""
    from ledger.cli_following import await_end, follow_job  # noqa: PLC0415

    if output == "text":
        follow_job(ledger, job_id, output)
    else:
        await_end(ledger, job_id)
    job = ledger.get(job_id)
    if output != "text":
        emit_json(_of(job), output)
    if job.state != "succeeded":
        raise Failure(f"the job is {job.state}")


def _instant(text: str | None, pointer: str) -> datetime | None:
    from ledger.requests import instant  # noqa: PLC0415

    try:
        return None if text is None else instant(text)
    except ValueError as error:
        raise InvalidRequest([Breach(pointer, str(error))]) from error


def _span(text: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise InvalidRequest([Breach("/delay", str(error))]) from error
