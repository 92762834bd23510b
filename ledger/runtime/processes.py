"""Child processes that run together: started in order, heard line by line, stopped in order, and never left behind.

Each child leads a process group of its own, so the terminal's Ctrl-C reaches only the parent, which decides who stops
when. A child that does not leave in time is killed with its whole group. Should the parent itself be killed, Linux
tells the children (parent-death signal), and they stop by themselves.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    Hear = Callable[[str, str], None]
    """Takes the name of a child and one line it wrote."""

PATIENCE = 10.0
_LAUNCH = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv[1]):
    sys.exit(0)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes the child, after asking for SIGTERM at the parent's death. A fresh interpreter, because code between fork and
exec is unsafe in a process with threads."""


def in_words(name: str, code: int) -> str:
    """Say how a process ended."""
    if code < 0:
        return f"{name} was killed by {signal.Signals(-code).name}"
    return f"{name} ended with exit code {code}"


@dataclass(frozen=True, slots=True)
class Ended:
    """A child has ended."""

    name: str
    code: int

    def in_words(self) -> str:
        return in_words(self.name, self.code)


@dataclass(frozen=True, slots=True)
class Lost:
    """What the children cannot do without has ended for good."""

    words: str

    def in_words(self) -> str:
        return self.words


@dataclass(frozen=True, slots=True)
class Signalled:
    """The parent was asked to stop."""

    number: signal.Signals


@dataclass(frozen=True, slots=True)
class Order:
    """What to run, and how long it may take to leave."""

    name: str
    arguments: Sequence[str]
    patience: float = PATIENCE


@dataclass(slots=True)
class Child:
    order: Order
    process: subprocess.Popen[str]
    leaving: bool = False
    """It was asked to: its end is no news."""
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """Kill the child and all it has started, also what leads a group of its own."""
        family = _descendants(self.pid)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for pid in family:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


class Crew:
    """Children by name. Use from the main thread; `hear` is called from one thread a child, one call at a time."""

    def __init__(self, hear: Hear, environment: Mapping[str, str]) -> None:
        self._hear = hear
        self._environment = dict(environment)
        self._lock = threading.Lock()
        self._children: dict[str, Child] = {}
        self._news: SimpleQueue[Ended | Signalled] = SimpleQueue()
        self.killed = False

    @property
    def pids(self) -> dict[str, int]:
        return {name: child.pid for name, child in self._children.items() if not child.ended.is_set()}

    def start(self, order: Order) -> Child:
        """Start a child; its end is news unless it is asked for."""
        process = subprocess.Popen(  # noqa: S603 — our own command lines
            [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *order.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self._environment,
            start_new_session=True,
        )
        child = self._children[order.name] = Child(order, process)
        threading.Thread(target=self._keep, args=(child,), name=f"keeper of {order.name}", daemon=True).start()
        return child

    def news(self, timeout: float | None = None) -> Ended | Signalled | None:
        """Wait for a child that ended by itself or a signal for us; None when neither came in time."""
        try:
            return self._news.get(timeout=timeout)
        except Empty:
            return None

    @contextmanager
    def signals(self, *numbers: signal.Signals) -> Generator[None]:
        """Turn these signals into news while inside; from the second one on, kill all children as well."""
        count = 0

        def note(number: int, _: Any) -> None:
            nonlocal count
            count += 1
            self._news.put(Signalled(signal.Signals(number)))
            if count > 1:
                self.kill()

        before = {number: signal.signal(number, note) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self, *names: str, patience: float = inf) -> None:
        """Ask these children, or all, to leave; kill those that do not, and what they left in their groups.

        None has more time than its own patience, and this one.
        """
        leaving = [self._children[name] for name in names or tuple(self._children) if name in self._children]
        begun = time.monotonic()
        for child in leaving:
            child.leaving = True
            child.process.send_signal(signal.SIGTERM)
        for child in leaving:
            seconds = min(child.order.patience, patience)
            if not child.ended.wait(max(0.0, begun + seconds - time.monotonic())):
                self._hear(child.order.name, f"did not leave in {seconds:g} s and is killed")
            child.kill()
            child.ended.wait(PATIENCE)
            del self._children[child.order.name]

    def kill(self) -> None:
        """Kill all children now, with what they started."""
        self.killed = True
        for child in tuple(self._children.values()):
            child.kill()

    def _keep(self, child: Child) -> None:
        listener = threading.Thread(target=self._listen, args=(child,), daemon=True)
        listener.start()
        code = child.process.wait()
        listener.join(timeout=1)  # what it started may live on for a moment and hold the pipe open
        child.ended.set()
        if not child.leaving:
            self._news.put(Ended(child.order.name, code))

    def _listen(self, child: Child) -> None:
        assert child.process.stdout is not None
        with child.process.stdout as lines:
            for line in lines:
                with self._lock:
                    self._hear(child.order.name, line.rstrip("\n"))


def _descendants(pid: int) -> list[int]:
    """Return the processes that this one started, and those they did."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError, ValueError):  # it has just ended
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found = list(children.get(pid, ()))
    for each in found:  # grows as it goes: children before grandchildren
        found += children.get(each, ())
    return found
