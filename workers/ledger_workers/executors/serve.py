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
from queue import SimpleQueue
from typing import IO, Any

from ledger import outcomes
from ledger.handlers import Handler, current_job
from ledger.runtime import logs
from ledger.texts import plain
from ledger_workers.application import load
from ledger_workers.executors.processes import Answer, Order, receive, send
from ledger_workers.runner import stack_of


def main() -> None:
    """Serve until the worker has gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    orders, answers = _pipes()
    ledger = load(sys.argv[1])
    logs.configure(ledger.settings, "worker")
    waiting: SimpleQueue[Order] = SimpleQueue()
    threading.Thread(target=_listen, args=(orders, waiting), daemon=True).start()
    while True:
        send(answers, answer(ledger.handlers, waiting.get()))


def answer(handlers: Any, order: Order) -> Answer:
    """Run the job's handler and say what came of it."""
    job = order.job()
    current_job.set(job)
    try:
        handler: Handler[..., Any] = handlers[job.type]
        value = handler.run(job)
        value = asyncio.run(value) if handler.is_async else value  # pyright: ignore[reportArgumentType]
        if isinstance(value, outcomes.Snooze):
            reason = None if value.reason is None else plain(value.reason)
            return Answer(snooze=value.delay, snooze_reason=reason)
        return Answer(result=outcomes.encode_result(value))
    except BaseException as error:  # noqa: BLE001 — the boundary of a job
        wish = outcomes.wish_of(error)
        return Answer(
            error_type=type(error).__name__,
            error_message=plain(outcomes.message_of(error)),
            stack_trace=plain(stack_of(error)),
            permanent=wish is not None and not isinstance(wish, outcomes.Retry),
            after=wish.after if isinstance(wish, outcomes.Retry) else None,
        )


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
