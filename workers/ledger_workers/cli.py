"""`ledger worker`: runs the jobs of an application, and lists who else does."""

from __future__ import annotations

from typing import Any

import click

from ledger.cli_output import ExitCode, Failure, example


def _queues(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    from ledger.settings import queues  # noqa: PLC0415 — help must not wait for imports

    try:
        return None if value is None else queues(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(epilog=example("ledger worker myapp.jobs:ledger --queues critical,default --processes 2"))
@click.argument("app")
@click.option("--queues", callback=_queues, help="In this order, or weighted: critical:6,default:3.")
@click.option("--concurrency", type=click.IntRange(1, 10_000), help="Jobs at once in each process.")
@click.option("--processes", type=click.IntRange(1, 256), default=1, show_default=True, help="Worker processes.")
@click.option("--drain", is_flag=True, help="Leave once nothing is ready.")
@click.pass_context
def worker(context: click.Context, app: str, queues: Any, concurrency: int | None, processes: int, drain: bool) -> None:
    """Run the jobs of an application.

    APP is module:attribute and names the application's Ledger, as seen from the working directory. SIGTERM or Ctrl-C
    lets running jobs finish, within WORKER_SHUTDOWN_TIMEOUT; a second one leaves at once.
    """
    from ledger.runtime import logs  # noqa: PLC0415
    from ledger.settings import load  # noqa: PLC0415
    from ledger_workers.supervisor import Supervisor  # noqa: PLC0415

    if ":" not in app:
        raise Failure(
            f"{app!r} does not name an application; write module:attribute, such as myapp.jobs:ledger", ExitCode.USAGE
        )
    settings = load(worker_queues=queues, worker_concurrency=concurrency)
    logs.configure(settings, "worker")
    context.exit(Supervisor(app, settings, processes, drain=drain).run())
