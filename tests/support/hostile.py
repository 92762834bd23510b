"""What a handler can do to the thread or process it runs in, on purpose or not."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable


class Trap(Exception):
    """Strikes back when it is looked at."""

    def __str__(self) -> str:
        raise SystemExit("looked at")

    def __getattribute__(self, name: str) -> object:
        if name == "remote_stack":
            raise KeyboardInterrupt
        return super().__getattribute__(name)


def leave() -> NoReturn:
    sys.exit(3)


def interrupt() -> NoReturn:
    raise KeyboardInterrupt


def recurse() -> int:
    return recurse() + 1


def eat_memory() -> object:
    return bytearray(1 << 62)


def be_huge() -> str:
    return "x" * (2 << 20)


def be_a_circle() -> list[object]:
    circle: list[object] = []
    circle.append(circle)
    return circle


def set_a_trap() -> NoReturn:
    raise Trap


def strike_the_thread() -> str:
    """Raise SystemExit in this very thread, some time later: in the handler, or behind its back."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threading.get_ident()), ctypes.py_object(SystemExit))
    return "struck"


def close_the_streams() -> str:
    sys.stdout.close()
    sys.stderr.close()
    return "closed"


def close_the_descriptors() -> str:
    for number in (0, 1, 2):
        with suppress(OSError):
            os.close(number)
    return "closed"


def go_away() -> str:
    os.chdir("/")
    return "gone"


def take_the_signals() -> str:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    os.umask(0o777)
    return "taken"


def lose_the_way() -> str:
    os.environ.clear()
    os.environ["LOST"] = "yes"
    sys.path.clear()
    return "lost"


def fork_and_return() -> str:
    """Come back twice, once in a process that nobody has asked."""
    os.fork()
    return "forked"


def flood() -> str:
    for _ in range(20_000):
        print("x" * 100, file=sys.stderr)
    return "flooded"


WAYS: dict[str, Callable[[], object]] = {
    function.__name__: function
    for function in (
        leave, interrupt, recurse, eat_memory, be_huge, be_a_circle, object, set_a_trap, strike_the_thread,
        close_the_streams, close_the_descriptors, go_away, take_the_signals, lose_the_way, fork_and_return, flood,
    )
}  # fmt: skip


def surroundings() -> dict[str, object]:
    """What a later job finds."""
    print("out", file=sys.stdout, flush=True)
    print("err", file=sys.stderr, flush=True)
    mask = os.umask(0)
    os.umask(mask)
    return {
        "pid": os.getpid(),
        "directory": os.getcwd(),  # noqa: PTH109
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1)],
        "mask": mask,
        "environment": sorted(os.environ),
        "path": sys.path,
    }
