"""Progress of long work on stderr: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from ledger.cli_output import say, words
from ledger.durations import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Advance = Callable[[int, int], None]
    """Takes how much is done and how much there is."""

LINE_EVERY = 2.0


@contextmanager
def progress(title: str) -> Generator[Advance]:
    """Show how far the work inside has come, each time it says so."""
    if words().is_terminal:
        with _bar(title) as advance:
            yield advance
    else:
        yield _lines(title)


def _lines(title: str) -> Advance:
    begun: tuple[float, int] | None = None
    said = (0.0, -1)

    def advance(done: int, total: int) -> None:
        nonlocal begun, said
        now = time.monotonic()
        begun = begun or (now, done)
        if done != said[1] and (now - said[0] >= LINE_EVERY or done == total):
            said = (now, done)
            say(f"{title}: {done:,} of {total:,}{_pace(now - begun[0], done - begun[1], total - done)}")

    return advance


def _pace(seconds: float, done: int, left: int) -> str:
    if done <= 0 or seconds <= 0:
        return ""
    rate = done / seconds
    remaining = f", {in_words(timedelta(seconds=round(left / rate)))} left" if left else ""
    return f", {rate:,.0f} a second{remaining}"


@contextmanager
def _bar(title: str) -> Generator[Advance]:
    from rich.progress import (  # noqa: PLC0415 — only where there is a terminal
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    rate = TextColumn("{task.fields[rate]}", style="dim")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn(), rate)
    with Progress(*columns, TimeRemainingColumn(), console=words()) as bar:
        task = bar.add_task(title, total=None, rate="")

        def advance(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:,.0f}/s" if speed else "")

        yield advance
