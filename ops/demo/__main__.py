"""The demonstration from start to end; see the package's docstring.

It waits by asking the system, never by counting what it has seen itself, so whatever happens meanwhile (a killed
worker, an emptied Redis, somebody's open transaction) is for the system to heal and for the check at the end to judge.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
from psycopg.errors import UndefinedTable
from rich.panel import Panel

from ledger import Ledger, Unavailable, dev, ids
from ledger import settings as settings_
from ledger.cli_failures import ExitCode, Failure, reported
from ledger.cli_output import data
from ledger.dev_servers import open_servers
from ledger.runtime.statements import statement
from ops.demo import files as input_
from ops.demo import report
from ops.demo.live import Progress, display
from ops.demo.system import Interrupted, System, running
from ops.demo.web import Web

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from ledger.cli_output import Installation

DIRECTORY = Path(".ledger/demo")
CHUNK = 200
"""Jobs a transaction."""
LOOK_EVERY = 0.25
PLAIN_WIDTH = 110
NO_PROGRESS_LIMIT = 180.0
SETTLE_LIMIT = 60.0
_PROGRESS = statement("ops.demo", "select_progress")


@click.command(epilog="Example: python -m ops.demo --limit 100")
@click.option("--limit", type=click.IntRange(min=2), help="So many files instead of all.")
@click.option("--workers", type=click.IntRange(1, 32), help="Worker processes. [default: one a core, at most 4]")
@click.option("--keep", is_flag=True, help="Stay up afterwards for a look around.")
def main(limit: int | None, workers: int | None, keep: bool) -> None:
    """Run one job for every file of Python's standard library and show what became of them."""
    console = data()
    if not console.is_terminal:
        console.width, console.soft_wrap = PLAIN_WIDTH, False
    with reported():
        try:
            demonstrate(
                console,
                input_.library_files(DIRECTORY / "broken", limit),
                workers or min(os.cpu_count() or 1, 4),
                keep=keep,
            )
        except Interrupted:
            console.print("\ninterrupted; everything was stopped", style="yellow")
            sys.exit(ExitCode.INTERRUPTED)


def demonstrate(console: Console, files: Sequence[Path], workers: int, *, keep: bool) -> None:
    begun = time.monotonic()
    _introduce(console, files)
    settings = settings_.load()
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with open_servers(settings, DIRECTORY, lambda words: _step(console, words)) as servers:
        installation = servers.installation
        dev.migrate(installation)
        _step(console, "the database is up to date")
        with running(installation, DIRECTORY / "demo.log", workers) as system:
            system.await_ready()
            _step(console, f"API, projector, scheduler and {workers} workers are up; their log is {DIRECTORY}/demo.log")
            _step(console, f"the API answers at {system.url}/api/v1")
            _show_all(console, files, installation, system)
            took = time.monotonic() - begun
            console.print(f"\n[bold green]✔[/] [bold]All is well.[/] {took:.0f} s from start to end.", highlight=False)
            if keep:
                _stay(console, system)
    console.print(
        "  Run it again and nothing of this is forgotten. Your own turn: [bold]ledger dev[/]", highlight=False
    )


def _show_all(console: Console, files: Sequence[Path], installation: Installation, system: System) -> None:
    run = f"demo-{ids.mint()}"
    ledger = _enqueue_all(console, files, installation, run)
    try:
        _await_end(console, ledger, system, run, len(files))
    finally:
        ledger.close()
    web = Web(system.url)
    outcome = _settled(files, web, system, run)
    report.show_totals(console, outcome)
    report.show_queues(console, web, outcome)
    report.show_dead_letters(console, outcome)
    report.show_history(console, web, outcome)
    for incident in system.incidents:
        console.print(f"  [yellow]![/] {incident}", highlight=False)
    console.print()
    console.print(
        f"[bold green]✔[/] [bold]{len(files):,} files, {len(outcome.jobs):,} jobs.[/] Not one is missing, "
        "not one was counted twice, every digest is right.",
        highlight=False,
    )
    environment = dev.environment(installation, ("127.0.0.1", 0))
    _command(console, "Every read model built afresh from the log", environment, "rebuild-projections")
    _command(console, "The log compared with the read models and Redis", environment, "verify")


def _introduce(console: Console, files: Sequence[Path]) -> None:
    size = input_.total_size(files) / 1e6
    added = sum(not input_.is_in_library(path) for path in files)
    ours = f", and for {added} of ours" if added else ""
    words = (
        f"One job for each of the [bold]{len(files) - added:,}[/] files of Python {platform.python_version()}'s "
        f"standard library{ours} ({size:.1f} MB): parse it, compile it, report lines, functions, size and SHA-256. "
        "Some files are broken on purpose, some need a second look. Kill a worker or empty Redis meanwhile: it heals."
    )
    console.print(
        Panel(words, title="[bold]Ledger[/]", title_align="left", width=min(console.width, 80), padding=(0, 2))
    )


def _enqueue_all(console: Console, files: Sequence[Path], installation: Installation, run: str) -> Ledger:
    """Let the example application ask for its jobs, as any application would."""
    os.environ |= {"DATABASE_URL": installation.database_url, "REDIS_URL": installation.redis_url}
    from ops.demo.jobs import examine, ledger  # noqa: PLC0415 — it reads the environment, which is set only now

    begun = time.monotonic()
    requests = [input_.request(path, n, run, examine.options) for n, path in enumerate(files)]
    for start in range(0, len(requests), CHUNK):
        ledger.enqueue_many(requests[start : start + CHUNK])
    _step(console, f"{len(files):,} jobs enqueued in {time.monotonic() - begun:.2f} s, in {len(input_.QUEUES)} queues")
    console.print()
    return ledger


def _await_end(console: Console, ledger: Ledger, system: System, run: str, total: int) -> None:
    shown = display(console)
    last, moved = -1, time.monotonic()
    try:
        while True:
            progress = _progress(ledger, run, total)
            shown.show(progress, system.incidents)
            if progress.ended >= total:
                return
            if progress.ended != last:
                last, moved = progress.ended, time.monotonic()
            if time.monotonic() - moved > NO_PROGRESS_LIMIT:
                raise Failure(f"no job has ended for {NO_PROGRESS_LIMIT:g} s; see {DIRECTORY}/demo.log")
            system.watch(LOOK_EVERY)
    finally:
        shown.close()


def _progress(ledger: Ledger, run: str, total: int) -> Progress:
    rows: Sequence[tuple[str, str, int, int, int]] = ()
    # Away for a moment, or the projector has not made the read model yet: the next look will tell.
    with suppress(Unavailable, UndefinedTable), ledger.database.connection() as connection:
        rows = connection.execute(_PROGRESS, {"run": run}).fetchall()
    states: dict[str, dict[str, int]] = {queue: {} for queue in input_.QUEUES}
    for queue, state, jobs, _, _ in rows:
        states.setdefault(queue, {})[state] = jobs
    return Progress(total, states, sum(int(row[3]) for row in rows), sum(int(row[4]) for row in rows))


def _settled(files: Sequence[Path], web: Web, system: System, run: str) -> report.Outcome:
    """Collect the run until the read models have caught up and nothing is wrong with it; fail loudly if they do not."""
    deadline = time.monotonic() + SETTLE_LIMIT
    while True:
        outcome = report.collect(web, run)
        wrong = report.complaints(files, outcome)
        if not wrong:
            return outcome
        if time.monotonic() > deadline:
            raise Failure("\n  ".join([f"{len(wrong)} things are wrong with this run:", *wrong[:20]]))
        system.watch(LOOK_EVERY)


def _command(console: Console, title: str, environment: dict[str, str], *arguments: str) -> None:
    """Run a command of `ledger` before the reader's eyes."""
    report.section(console, title)
    console.print(f"[dim]$ ledger {' '.join(arguments)}[/]", highlight=False)
    sys.stdout.flush()
    code = subprocess.run(dev.command(*arguments), env=environment, check=False).returncode
    if code:
        raise Failure(f"`ledger {' '.join(arguments)}` ended with exit code {code}")


def _stay(console: Console, system: System) -> None:
    console.print(f"\n  Look around at [bold]{system.url}/api/v1/jobs[/]; Ctrl-C ends it.", highlight=False)
    with suppress(Interrupted):
        while True:
            system.watch(3600.0)


def _step(console: Console, words: str) -> None:
    console.print(f"  [green]✔[/] {words}", highlight=False)


if __name__ == "__main__":
    main()
