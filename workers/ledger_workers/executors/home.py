"""The state of a handlers' process as it was at first: what a handler changed is put back before the next one runs."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress


class Home:
    """Remembers directory, environment, module path, signal handlers, the mask, and where output goes."""

    def __init__(self) -> None:
        self._directory = os.open(".", os.O_RDONLY)
        self._streams = [(number, os.dup(number)) for number in (0, 1, 2)]
        self._files = (sys.stdin, sys.stdout, sys.stderr)
        self._environment = dict(os.environ)
        self._path = list(sys.path)
        self._signals = {number: signal.getsignal(number) for number in signal.valid_signals()}
        self._mask = os.umask(0o022)
        os.umask(self._mask)

    def restore(self) -> None:
        """Put all of it back."""
        with suppress(OSError):  # where even these descriptors were closed, the process is of no use and soon ends
            os.fchdir(self._directory)
            for number, kept in self._streams:
                os.dup2(kept, number)
        if os.environ != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)
        sys.path[:] = self._path
        os.umask(self._mask)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, wanted in self._signals.items():
            if wanted is not None and signal.getsignal(number) is not wanted:
                signal.signal(number, wanted)
        self._open_files()

    def _open_files(self) -> None:
        stdin, stdout, stderr = (
            file if file is not None and not file.closed else os.fdopen(number, mode, closefd=False)
            for number, mode, file in zip((0, 1, 2), "rww", self._files, strict=True)
        )
        self._files = sys.stdin, sys.stdout, sys.stderr = stdin, stdout, stderr
