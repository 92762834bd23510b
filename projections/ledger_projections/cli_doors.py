"""What the commands of this room share: opening the servers, and being stopped."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import click

from ledger.cli_output import ExitCode, connect_postgres
from ledger.durations import parse

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import timedelta

    from ledger.cli_output import Installation
    from ledger.resources import Resource
    from ledger.runtime.database import Database
    from ledger_projections.queries import Queries


JOB_ID = "019f7c3e-5a10-7000-8000-000000000000"
"""For examples."""


@contextmanager
def opened(name: str, size: int = 1) -> Generator[tuple[Installation, Database]]:
    """Lend the installation and a pool of connections to its database."""
    from ledger.runtime.database import Database  # noqa: PLC0415

    here = connect_postgres()
    database = Database(here.database_url, size=size, name=name)
    try:
        yield here, database
    finally:
        database.close()


@contextmanager
def reading() -> Generator[Queries]:
    from ledger_projections.queries import Queries  # noqa: PLC0415

    with opened("ledger-cli") as (here, database):
        yield Queries(database, silent_after=here.settings.scheduler_stale_job_timeout)


@contextmanager
def stopped_by_signals() -> Generator[threading.Event]:
    """Give an event that SIGTERM and Ctrl-C set; the second of them leaves at once."""
    stop = threading.Event()
    signals: SimpleQueue[int | None] = SimpleQueue()
    came = False

    def ask(number: int, _frame: object) -> None:
        nonlocal came
        if came:
            os._exit(ExitCode.INTERRUPTED)
        came = True
        # Not set here: the thread that was interrupted may be inside of the event's own lock, and would wait for ever.
        signals.put(number)

    def pass_on() -> None:
        if signals.get() is not None:
            stop.set()

    threading.Thread(target=pass_on, name="signals", daemon=True).start()
    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signals.put(None)


def leave(*, ended: bool) -> None:
    """End the process here where turns of its loops have not ended: Python would wait for the threads they started."""
    if not ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ExitCode.DONE)


def shown(view: Any) -> Resource:
    """Return a view as the JSON object the API gives."""
    from ledger_projections.views import resource  # noqa: PLC0415

    return resource(view)


def span(text: str, option: str) -> timedelta:
    """Read a duration; a bad one is a usage error that names the option."""
    try:
        return parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error
