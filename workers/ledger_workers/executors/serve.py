"""The program of a handler's process: jobs in at stdin, answers out at stdout, until stdin ends.

What handlers print goes to stderr. Signals meant for the worker are left to the worker, which kills this process when
it must go.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any

from ledger import outcomes
from ledger.handlers import Handler, current_job
from ledger.runtime import logs
from ledger_workers.application import load
from ledger_workers.executors.home import Home
from ledger_workers.executors.processes import Order, Word, receive, send
from ledger_workers.runner import stack_of

if TYPE_CHECKING:
    from ledger.outcomes import Ending
    from ledger.running import Voice

_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG."""


class Line:
    """The line to the worker. What a handler's leftover threads still say, no later job is taken to have said."""

    def __init__(self, answers: IO[bytes]) -> None:
        self._answers = answers
        self._lock = threading.Lock()
        self._order: Order | None = None

    def begin(self, order: Order) -> Voice:
        """Return the voice of this order's handler, which is heard until the order is answered."""
        self._order = order

        def say(progress: float | None, message: str | None) -> None:
            with self._lock, suppress(OSError, ValueError):  # the worker has gone: the end of the orders says so
                if self._order is order:
                    send(self._answers, Word(progress=progress, message=message))

        return say

    def answer(self, ending: Ending) -> None:
        with self._lock:
            self._order = None
            send(self._answers, Word(ending=ending))


def main() -> None:
    """Serve until the worker has gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
    orders, answers = _pipes()
    ledger = load(sys.argv[1])
    logs.configure(ledger.settings, "worker")
    waiting: SimpleQueue[Order] = SimpleQueue()
    threading.Thread(target=_listen, args=(orders, waiting), daemon=True).start()
    send(answers, Word())
    line, home, pid = Line(answers), Home(), os.getpid()
    while True:
        order = waiting.get()
        ending = answer(ledger.handlers, order, line.begin(order))
        if os.getpid() != pid:
            os._exit(0)  # a handler forked and both returned: only one of them was asked
        home.restore()
        line.answer(ending)


def answer(handlers: Any, order: Order, say: Voice) -> Ending:
    """Run the job's handler and say what came of it."""
    job = order.job()
    job.listen(say)
    mark = current_job.set(job)
    rules = outcomes.NO_RULES
    try:
        handler: Handler[..., Any] = handlers[job.type]
        rules = handler.rules
        value = handler.run(job)
        value = asyncio.run(value) if handler.is_async else value  # pyright: ignore[reportArgumentType]
        return outcomes.ending_of_value(value)
    except BaseException as error:  # noqa: BLE001 — the boundary of a job
        return outcomes.ending_of_error(error, stack_of(error), rules)
    finally:
        current_job.reset(mark)


def end_with_parent() -> None:
    """Have this process killed when its worker dies, also while a handler holds the interpreter; where Linux is."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)


def _pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Keep the pipes for ourselves, and give handlers a stdin and stdout that cannot disturb them.

    What a handler forks must not keep them open: the worker would never see that this process has ended.
    """
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    for number in (orders.fileno(), answers.fileno()):
        os.register_at_fork(after_in_child=partial(os.close, number))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return orders, answers


def _listen(orders: IO[bytes], waiting: SimpleQueue[Order]) -> None:
    try:
        while True:
            waiting.put(receive(orders, Order))
    except EOFError:
        # The worker has gone: whatever runs here has lost its lease, or is about to.
        os._exit(0)


if __name__ == "__main__":
    main()
