"""What handlers have said, in the text that `ledger job get` and `ledger job events` show below the job itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.cli_output import data, plain, when
from ledger.codec import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from ledger.client import Ledger
    from ledger.notes import Note


def show_latest(ledger: Ledger, job_id: str) -> None:
    """Print what was said last, and how far the run is."""
    notes = ledger.notes(job_id)
    latest = notes[-1:]
    if latest and latest[0].progress is None:
        this_run = [note for note in notes if note.lease_version == latest[0].lease_version]
        latest = [note for note in this_run if note.progress is not None][-1:] + latest
    _show(latest)


def show_all(ledger: Ledger, job_id: str) -> None:
    """Print everything that was said."""
    _show(ledger.notes(job_id))


def _show(notes: Iterable[Note]) -> None:
    rows = list(notes)
    if rows:
        data().print()
        data().print(_table(rows))


def _table(notes: Iterable[Note]) -> Table:
    from rich.table import Table  # noqa: PLC0415 — rich is loaded when something is drawn

    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("Said at", "Attempt", "Progress", "Message"):
        table.add_column(name, justify="right" if name == "Progress" else "left")
    for note in notes:
        progress = "" if note.progress is None else f"{note.progress:.0%}"
        table.add_row(when(rfc3339(note.at)), str(note.attempt or ""), progress, plain(note.message or ""))
    return table
