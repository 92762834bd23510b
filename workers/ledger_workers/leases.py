"""Leases: the right to run a job once, asked for in one statement, held until its outcome is on record.

A lease is noted on the board before it is asked for. What the log does not grant was leased by another worker,
cancelled, or never there; its message has done its duty all the same.
"""

from __future__ import annotations

import secrets
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from ledger.events import Kind, Trace
from ledger.handlers import Job, Token
from ledger.job import fold
from ledger.log import Append, Lease
from ledger.runtime import failpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ledger.commands import Events
    from ledger.job import JobState
    from ledger.log import Log
    from ledger.message import Message
    from ledger_workers.board import Board


class Run:
    """A job this process holds, from the lease to the record of its outcome.

    Whoever `settle`s it decides its outcome, once: the handler's thread, the watch at the time-out, or the shutdown.
    """

    __slots__ = (
        "_keys",
        "_right",
        "began_at",
        "ends_at",
        "job",
        "leased_at",
        "line",
        "seconds",
        "state",
        "stop",
        "thread_id",
    )

    def __init__(self, state: JobState, job: Job, line: int) -> None:
        self.state = state
        self.job = job
        self.line = line
        """Its place on the board."""
        self.leased_at = time.monotonic()
        self.began_at = 0.0
        """When the handler was started; 0 while the job waits for a thread."""
        self.ends_at = 0.0
        self.seconds = 0.0
        """How long the handler ran."""
        self.thread_id = 0
        self.stop: Callable[[], None] | None = None
        """Ends the handler for real, where its executor can."""
        self._right = [True]
        self._keys = [True, False]

    def settle(self) -> bool:
        """Take the right to decide the outcome; True for the first to ask only. Atomic."""
        try:
            return self._right.pop()
        except IndexError:
            return False

    @property
    def settled(self) -> bool:
        return not self._right

    def part(self) -> bool:
        """Say that the handler has returned, or that the outcome is on record; True for whichever comes last."""
        return self._keys.pop() if self._keys else False

    def ask_to_stop(self) -> None:
        """Tell the handler, and end it where that can be done."""
        self.job.cancel()
        if self.stop is not None:
            self.stop()

    def append(self, events: Events, worker_id: str) -> Append:
        """Return the append of this run's outcome; only the holder of the open lease gets it into the log."""
        state = self.state
        return Append(
            job_id=state.id,
            events=events,
            queue=state.queue,
            priority=state.priority,
            actor=f"worker:{worker_id}",
            after_version=state.lease_version,
            after_kind=Kind.LEASED,
            nonce=state.nonce,
            trace=Trace(correlation_id=state.correlation_id),
        )


class Leases:
    """Gets leases for one worker process."""

    def __init__(self, log: Log, board: Board, worker_id: str) -> None:
        self._log = log
        self._board = board
        self._worker_id = worker_id

    def take(self, messages: Iterable[Message]) -> list[Run]:
        """Lease the jobs these messages name, as many as are still ready, in the order given. May raise Unavailable."""
        newest: dict[int, Message] = {}
        for message in messages:
            known = newest.get(message.job_id.int)
            if known is None or known.version < message.version:
                newest[message.job_id.int] = message
        lines = {number: self._board.lease(message.job_id) for number, message in newest.items()}
        try:
            # Never used twice: a fresh beginning a batch, and the place in it.
            batch = secrets.token_hex(8)
            wishes = [Lease(each.job_id, each.version, f"{batch}{n:x}") for n, each in enumerate(newest.values())]
            histories = {history[0].job_id.int: history for history in self._log.lease(wishes, self._worker_id)}
            failpoints.hit("after_lease")
            runs: list[Run] = []
            for number in newest:
                history = histories.get(number)
                if history is not None and (state := fold(history)) is not None:
                    job = job_of(state, self._worker_id, history[0].trace.traceparent)
                    runs.append(Run(state, job, lines.pop(number)))
            return runs
        finally:
            for line in lines.values():
                self._board.wipe(line)


def job_of(state: JobState, worker_id: str, traceparent: str | None) -> Job:
    """Return what a handler is told of the job leased to this worker."""
    request = state.request
    return Job(
        id=state.id,
        type=request.type,
        body=request.payload,
        queue=state.queue,
        priority=state.priority.word,
        attempt=state.attempt,
        retry_count=state.retry_count,
        max_retries=request.max_retries,
        timeout=timedelta(seconds=request.timeout_seconds),
        metadata=request.metadata,
        token=Token(state.id, state.lease_version),
        correlation_id=state.correlation_id or str(state.id),
        worker_id=worker_id,
        traceparent=traceparent,
    )
