"""Output that no handler can take from another one, or from the log: on descriptors of its own, and never closed."""

from __future__ import annotations

import io
import os
import sys


class Unclosable(io.TextIOWrapper):
    """A text stream that only the end of the process closes."""

    def close(self) -> None:
        """Write out what is there, and stay open."""
        self.flush()


def guard() -> None:
    """Put such streams in the place of stdout and stderr; to be called before anything keeps the old ones."""
    sys.stdout, sys.stderr = (_guarded(number) for number in (1, 2))


def _guarded(number: int) -> Unclosable:
    raw = os.fdopen(os.dup(number), "wb")
    return Unclosable(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
