"""A command as a person runs it: its lines are read as they come, Ctrl-C is a signal, and nothing may stay behind."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Terminal:
    """A running command; use as a context."""

    def __init__(self, *arguments: str, directory: Path, environment: Mapping[str, str] = {}) -> None:
        self.output: list[str] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=directory,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "API_PORT": str(free_port()), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Kill it and all that it has started, it first: nobody is left to tidy up."""
        family = self.family()
        self._process.kill()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def wait_for(self, words: str, seconds: float = 60) -> str:
        """Read on until a line holds these words, and return it."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"{words!r} was never said:\n{self.text}")
            if words in line:
                return line

    @property
    def text(self) -> str:
        return "\n".join(self.output)

    def family(self) -> list[psutil.Process]:
        """All processes that this one started, and those they did."""
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def wait(self, seconds: float = 60) -> int:
        return self._process.wait(timeout=seconds)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.output.append(line.rstrip("\n"))
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


def free_port() -> int:
    """A port of one's own: tests that run at the same time would race for the default."""
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return candidate.getsockname()[1]


def gone(processes: list[psutil.Process], seconds: float = 10) -> bool:
    """Whether all of these have ended, or do so in time."""
    return not psutil.wait_procs(processes, timeout=seconds)[1]
