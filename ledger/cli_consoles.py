"""The two streams of a command: data on stdout, words on stderr, each coloured only where somebody looks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

UNBOUNDED = 100_000
"""The width of a pipe: a row is a line, however long."""


def data() -> Console:
    """Return a console on stdout. Not on a terminal: no colour, and no line is cut."""
    return _console(stderr=False)


def words() -> Console:
    """Return a console on stderr, for messages and progress."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console  # noqa: PLC0415

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else UNBOUNDED
    return Console(stderr=stderr, highlight=False, width=width, soft_wrap=not stream.isatty(), emoji=False)
