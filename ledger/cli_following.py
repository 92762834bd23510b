"""Following a job: its history as it grows, until it has ended or is dead."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import click

from ledger.cli_output import data, emit_json
from ledger.job import State, fold
from ledger.resources import event_resource
from ledger.timeline import timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ledger.client import Ledger
    from ledger.resources import Resource

LOOK_EVERY = 0.1


def await_end(ledger: Ledger, job_id: str, tell: Callable[[list[Resource]], None] | None = None) -> None:
    """Return once the job has ended or is dead; until then tell its events, those of each look together."""
    told = 0
    never = threading.Event()
    while True:
        history = ledger.history(job_id)
        if tell is not None and len(history) > told:
            tell([event_resource(entry) for entry in history[told:]])
        told = len(history)
        state = fold(history)
        if state is None or state.state.is_end or state.state is State.DEAD:
            return
        never.wait(LOOK_EVERY)


def follow_job(ledger: Ledger, job_id: str, output: str) -> None:
    """Show the history as it grows. Also while it grows, `json` is one array and `jsonl` a line each."""
    shown: list[Resource] = []

    def tell(fresh: list[Resource]) -> None:
        if output == "text":
            data().print(timeline(fresh, before=shown[-1] if shown else None))
        elif output == "jsonl":
            emit_json(fresh, output)
        else:
            _extend_array(fresh, begun=bool(shown))
        shown.extend(fresh)

    await_end(ledger, job_id, tell)
    if output == "json":
        click.echo("]")


def _extend_array(fresh: Sequence[Resource], *, begun: bool) -> None:
    for number, each in enumerate(fresh):
        click.echo("," if begun or number else "[", nl=False)
        emit_json(each, "jsonl")
