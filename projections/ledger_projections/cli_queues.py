"""`ledger queue`: what is in the queues now, what went through them, and which of them are paused."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from ledger.cli_group import RoomGroup
from ledger.cli_output import changed, emit, example, not_found, output_option, plain, table, when
from ledger.durations import in_words
from ledger_projections.cli_doors import opened, reading, shown, span

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

    from ledger.resources import Resource


def _nameable(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    from ledger.settings import QUEUE_NAME  # noqa: PLC0415 — help must not wait for imports

    if not QUEUE_NAME.fullmatch(value):
        not_found(f"queue not found: {value!r} cannot be the name of a queue")
    return value


_name = click.argument("name", callback=_nameable)


@click.group(cls=RoomGroup, prefix="queue.")
def queue() -> None:
    """See how the queues are doing; pause and resume them."""


@queue.command("list", epilog=example("ledger queue list"))
@output_option
def list_queues(output: str) -> None:
    """List the queues and what is in them."""
    with reading() as queries:
        emit([shown(info) for info in queries.queue_infos()], output, _queues)


@queue.command("stats", epilog=example("ledger queue stats mail --window 24h"))
@_name
@click.option("--window", default="1h", help="How far back, such as 15m.  [default: 1h]")
@output_option
def queue_stats(name: str, window: str, output: str) -> None:
    """Show what went through a queue, and how long it took."""
    with reading() as queries:
        emit(shown(queries.queue_stats(name, _window(window))), output, _queue_stats)


@queue.command("pause", epilog=example("ledger queue pause mail --reason 'the mail server is ill'"))
@_name
@click.option("--reason", help="Why; shown with the queue.")
@output_option
def pause_queue(name: str, reason: str | None, output: str) -> None:
    """Let nothing new start in a queue; what runs goes on, and enqueueing works."""
    from ledger import pauses  # noqa: PLC0415 — imports the drivers

    _change(pauses.pause, name, "paused", reason, output)


@queue.command("resume", epilog=example("ledger queue resume mail"))
@_name
@click.option("--reason", help="Why; kept on record.")
@output_option
def resume_queue(name: str, reason: str | None, output: str) -> None:
    """Let the jobs of a paused queue start again."""
    from ledger import pauses  # noqa: PLC0415

    _change(pauses.resume, name, "resumed", reason, output)


def _change(act: Callable[..., bool], name: str, past: str, reason: str | None, output: str) -> None:
    with opened("ledger-cli") as (here, database):
        act(database, name, actor=here.actor, reason=reason)
    if output == "text":
        changed("queue", name, past)
        return
    with reading() as queries:
        changed("queue", name, past, shown(queries.queue_info(name)), output)


def _window(text: str) -> timedelta:
    window = span(text, "--window")
    if not timedelta(minutes=1) <= window <= timedelta(hours=168):
        raise click.BadParameter("must be 1m to 168h", param_hint="--window")
    return window


def _queues(queues: list[Resource]) -> Table:
    counts = ("scheduled", "ready", "running", "retrying", "dead")
    rows = table(
        "Queue", *map(str.capitalize, counts), "Oldest ready", "Paused", right=tuple(map(str.capitalize, counts))
    )
    for each in queues:
        rows.add_row(plain(each["name"]), *(f"{each[name]:,}" for name in counts), _age(each), _pause(each))
    return rows


def _queue_stats(stats: Resource) -> Table:
    from rich.table import Table  # noqa: PLC0415

    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    rows.add_column(overflow="fold")
    rows.add_row("queue", plain(stats["name"]))
    for name in ("scheduled", "ready", "running", "retrying", "dead"):
        rows.add_row(name, f"{stats[name]:,}")
    rows.add_row("ready by priority", ", ".join(f"{word} {n:,}" for word, n in stats["depth_by_priority"].items()))
    rows.add_row("oldest ready", _age(stats))
    if stats["paused"]:
        rows.add_row("paused", _pause(stats))
    rows.add_row("window", in_words(timedelta(seconds=stats["window_seconds"])))
    for name in ("enqueued", "succeeded", "failed", "retried", "dead_lettered", "cancelled", "crashed"):
        rows.add_row(name.replace("_", " "), f"{stats[name]:,}")
    rows.add_row("throughput", f"{stats['throughput_per_second']:.2f} a second")
    for name in ("wait_seconds", "run_seconds"):
        rows.add_row(name.removesuffix("_seconds"), _durations(stats[name]))
    return rows


def _durations(percentiles: Resource) -> str:
    return ", ".join(
        f"{name} {'–' if value is None else in_words(timedelta(seconds=value))}" for name, value in percentiles.items()
    )


def _age(queue: Resource) -> str:
    seconds = queue["oldest_ready_age_seconds"]
    return "–" if seconds is None else in_words(timedelta(seconds=seconds))


def _pause(queue: Resource) -> str:
    if not queue["paused"]:
        return ""
    reason = f": {queue['pause_reason']}" if queue["pause_reason"] else ""
    return f"[yellow]paused[/] {when(queue['paused_at'])} by {plain(queue['paused_by'] + reason)}"
