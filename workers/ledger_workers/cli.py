"""`ledger worker APP` runs the jobs of an application; `ledger worker list` shows who does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ledger.cli_output import LISTS, ExitCode, Failure, coloured, emit, example, output_option, plain, table, when
from ledger.cli_probes import probed

if TYPE_CHECKING:
    from rich.table import Table

    from ledger.runtime.probes import Vitals
    from ledger.settings import Queue, Settings
    from ledger_workers.supervisor import Supervisor


class _Worker(click.Command):
    """Takes the one word `list` for the other command; applications have a colon in their name."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args[:1] == ["list"]:
            if parent is not None:
                parent.meta[LISTS] = True
            return list_workers.make_context(f"{info_name} list", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def _queues(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[Queue, ...] | None:
    from ledger.settings import queues  # noqa: PLC0415 — help must not wait for imports

    try:
        return None if value is None else queues(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _size(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    from ledger.settings import size  # noqa: PLC0415

    try:
        return None if value is None else size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(
    cls=_Worker,
    epilog=example("ledger worker myapp.jobs:ledger --queues critical,default", "ledger worker list"),
)
@click.argument("app")
@click.option("--queues", callback=_queues, help="In this order, or weighted: critical:6,default:3.")
@click.option("--concurrency", type=click.IntRange(1, 10_000), help="Jobs at once in each process.")
@click.option("--processes", type=click.IntRange(1, 256), default=1, show_default=True, help="Worker processes.")
@click.option("--max-jobs", type=click.IntRange(1), help="Replace a process after so many jobs.")
@click.option("--max-memory", callback=_size, metavar="SIZE", help="Replace a process larger than this: 512MiB.")
@click.option("--drain", is_flag=True, help="Leave once nothing is ready.")
@click.pass_context
def worker(
    context: click.Context,
    app: str,
    queues: tuple[Queue, ...] | None,
    concurrency: int | None,
    processes: int,
    max_jobs: int | None,
    max_memory: int | None,
    drain: bool,
) -> None:
    """Run the jobs of an application.

    APP is module:attribute and names the application's Ledger, as seen from the working directory. SIGTERM or Ctrl-C
    lets running jobs finish, within WORKER_SHUTDOWN_TIMEOUT; a second one leaves at once. A process that is replaced
    finishes its jobs first; no job notices. `ledger worker list` shows the worker processes there are.
    """
    from ledger.runtime import logs  # noqa: PLC0415
    from ledger.settings import load, warn_of_ignored  # noqa: PLC0415
    from ledger_workers.offspring import Order  # noqa: PLC0415
    from ledger_workers.supervisor import Supervisor  # noqa: PLC0415
    from ledger_workers.wear import Wear  # noqa: PLC0415

    if ":" not in app:
        hint = "write module:attribute, such as myapp.jobs:ledger"
        raise Failure(f"{app!r} does not name an application; {hint}", ExitCode.USAGE)
    settings = load(worker_queues=queues, worker_concurrency=concurrency)
    logs.configure(settings, "worker")
    warn_of_ignored()
    order = Order(app, drain, Wear(max_jobs, max_memory), tells=settings.probe_port is not None)
    supervisor = Supervisor(order, settings, processes)
    with probed(settings, lambda: _vitals(supervisor, settings)):
        code = supervisor.run()
    context.exit(code)


def _vitals(supervisor: Supervisor, settings: Settings) -> Vitals:
    from ledger_workers.vitals import vitals_of  # noqa: PLC0415

    return vitals_of(supervisor, settings)


@click.command("list", epilog=example("ledger worker list -o json"))
@output_option
def list_workers(output: str) -> None:
    """List worker processes: the live ones, and those that fell silent lately."""
    from ledger_projections.cli_doors import reading, shown  # noqa: PLC0415

    with reading() as queries:
        emit([shown(each) for each in queries.list_workers()], output, _table)


def _table(workers: list[dict[str, Any]]) -> Table:
    names = ("ID", "Queues", "State", "Running", "Slots", "Started", "Heartbeat")
    drawn = table(*names, right=("Running", "Slots"), less=("Started",))
    for each in workers:
        state = "silent" if not each["alive"] else "stopping" if each["stopping"] else "live"
        drawn.add_row(
            plain(each["id"]),
            plain(",".join(each["queues"])),
            coloured(state),
            str(each["running"]),
            str(each["concurrency"]),
            when(each["started_at"]),
            when(each["heartbeat_at"]),
        )
    return drawn
