"""The program of a handler's process: jobs in at stdin, answers out at stdout, until stdin ends.

What handlers print goes to stderr. Signals meant for the worker are left to the worker, which kills this process when
it must go.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import suppress
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


def main() -> None:
    """Serve until the worker has gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    orders, answers = _pipes()
    ledger = load(sys.argv[1])
    logs.configure(ledger.settings, "worker")
    waiting: SimpleQueue[Order] = SimpleQueue()
    threading.Thread(target=_listen, args=(orders, waiting), daemon=True).start()
    lock = threading.Lock()

    def tell(word: Word) -> None:
        with lock:  # a handler may speak from threads of its own
            send(answers, word)

    def say(progress: float | None, message: str | None) -> None:
        with suppress(OSError, ValueError):  # the worker has gone: the end of the orders says so
            tell(Word(progress=progress, message=message))

    home = Home()
    while True:
        ending = answer(ledger.handlers, waiting.get(), say)
        home.restore()
        tell(Word(ending=ending))


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


def _pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Keep the pipes for ourselves, and give handlers a stdin and stdout that cannot disturb them."""
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
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
