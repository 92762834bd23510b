"""The display while the jobs run: bars and counts on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ledger.cli_output import STYLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

SHOWN = ("scheduled", "ready", "running", "retrying", "succeeded", "dead")
SECONDS_BETWEEN_LINES = 2.0
BAR_WIDTH = 16


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, as the read model knows it."""

    total: int
    states: dict[str, dict[str, int]] = field(default_factory=dict)
    """queue -> state -> jobs."""
    crashes: int = 0
    retries: int = 0

    def count(self, *states: str) -> int:
        return sum(jobs.get(state, 0) for jobs in self.states.values() for state in states)

    @property
    def ended(self) -> int:
        return self.count("succeeded", "dead", "cancelled", "discarded")


class Display(Protocol):
    def show(self, progress: Progress, notes: Sequence[str]) -> None: ...
    def close(self) -> None: ...


def display(console: Console) -> Display:
    return _Bars(console) if console.is_terminal else _Lines(console)


class _Lines:
    """For logs and CI: one short line at a time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = time.monotonic()
        self._last = 0.0
        self._notes = 0

    def show(self, progress: Progress, notes: Sequence[str]) -> None:
        for note in notes[self._notes :]:
            self._console.print(f"  ! {note}")
        self._notes = len(notes)
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_LINES and progress.ended < progress.total:
            return
        self._last = now
        seconds = now - self._begun
        counts = ", ".join(f"{progress.count(state):,} {state}" for state in SHOWN if progress.count(state))
        self._console.print(f"  {seconds:5.1f} s  {progress.ended:>5,} of {progress.total:,} ended   {counts}")

    def close(self) -> None:
        pass


class _Bars:
    """For people: a bar a queue, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._begun = time.monotonic()
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._live.start()

    def show(self, progress: Progress, notes: Sequence[str]) -> None:
        self._live.update(self._picture(progress, notes), refresh=True)

    def close(self) -> None:
        self._live.stop()

    def _picture(self, progress: Progress, notes: Sequence[str]) -> RenderableType:
        seconds = time.monotonic() - self._begun
        summary = Text.assemble(
            ("\n  ", ""),
            (f"{progress.ended:,}", "bold green"),
            (f" of {progress.total:,} jobs ended in {seconds:.1f} s", ""),
            (f" · {progress.ended / max(seconds, 0.1):,.0f} a second", "dim"),
            (f" · {progress.retries} retries", "magenta" if progress.retries else "dim"),
            (f" · {progress.crashes} crashes healed", "bold red" if progress.crashes else "dim"),
        )
        lines = [Text(f"  ! {note}", style="yellow") for note in notes[-5:]]
        return Group(_table(progress), summary, *lines)


def _table(progress: Progress) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("  Queue", no_wrap=True)
    table.add_column("", width=BAR_WIDTH)
    for state in SHOWN:
        table.add_column(state, justify="right", style=STYLES.get(state, ""), no_wrap=True)
    for queue, jobs in sorted(progress.states.items()):
        total, ended = sum(jobs.values()), jobs.get("succeeded", 0) + jobs.get("dead", 0)
        bar = ProgressBar(
            total=max(total, 1), completed=ended, width=BAR_WIDTH, complete_style="cyan", finished_style="green"
        )
        table.add_row(f"  {queue}", bar, *(f"{jobs[state]:,}" if jobs.get(state) else "·" for state in SHOWN))
    return table
