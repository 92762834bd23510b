"""Leases: the right to run a job once, asked for in one statement, held until its outcome is on record.

A lease is noted on the board before it is asked for. What the log does not grant was leased by another worker,
cancelled, or never there; its message has done its duty all the same. Where the answer was lost, or could not be
understood, the lease may have been granted: such wishes are kept until the log has told.
"""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from ledger.errors import CorruptHistory
from ledger.events import DeadLettered, Kind, Leased, Priority
from ledger.job import fold
from ledger.log import Append, Blocked, Lease, following, readable
from ledger.runtime import failpoints
from ledger.verdicts import job_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from subprocess import Popen

    from ledger.commands import Events
    from ledger.events import Entry
    from ledger.handlers import Job
    from ledger.job import JobState
    from ledger.log import Log
    from ledger.message import Message
    from ledger.notes import RunNotes
    from ledger_workers.board import Board

    Histories = dict[int, tuple[Entry, ...]]
    """By the job's id as a number: a UUID is hashed and compared in Python."""

log = structlog.get_logger()


class Run:
    """A job this process holds, from the lease to the record of its outcome.

    Whoever `settle`s it decides its outcome, once: the handler's thread, the watch at the time-out, or the shutdown.
    """

    __slots__ = (
        "_keys",
        "_right",
        "awaited",
        "began_at",
        "ends_at",
        "job",
        "leased_at",
        "line",
        "notes",
        "process",
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
        self.notes: RunNotes | None = None
        """What its handler has said, once it has said something."""
        self.process: Popen[bytes] | None = None
        """Kept for its handler, which has not begun."""
        self.awaited: Any = None
        """What its handler, on the event loop, is waiting in."""
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
        stop = self.stop  # looked up once: the handler may return at this moment
        if stop is not None:
            stop()

    def append(self, events: Events, worker_id: str) -> Append:
        """Return the append of this run's outcome; only the holder of the open lease gets it into the log."""
        return following(self.state, events, f"worker:{worker_id}")


class _Wish(msgspec.Struct, frozen=True, gc=False):
    """A lease asked for, and its line on the board."""

    lease: Lease
    line: int


class Leases:
    """Gets leases for one worker process."""

    def __init__(self, log: Log, board: Board, worker_id: str) -> None:
        self._log = log
        self._board = board
        self._worker_id = worker_id
        self._doubted: list[_Wish] = []

    @property
    def in_doubt(self) -> bool:
        """Whether leases were asked for of which nobody knows if they were granted: `recover` finds out."""
        return bool(self._doubted)

    def take(self, messages: Iterable[Message]) -> list[Run]:
        """Lease the jobs these messages name, as many as are still ready, in the order given. May raise Unavailable."""
        # Several versions of one job are all asked for: which of them is true the log knows, and only that one wins.
        wanted = {(message.job_id.int, message.version): message for message in messages}
        # Never used twice: a fresh beginning a batch, and the place in it.
        batch = secrets.token_hex(8)
        wishes = [
            _Wish(Lease(each.job_id, each.version, f"{batch}{n:x}"), self._board.lease(each.job_id))
            for n, each in enumerate(wanted.values())
        ]
        try:
            histories = self._log.lease([wish.lease for wish in wishes], self._worker_id)
        except BaseException:
            self._doubted += wishes
            raise
        failpoints.hit("after_lease")
        return self._runs(wishes, {history[0].job_id.int: history for history in histories})

    def recover(self) -> list[Run]:
        """Return the runs of the leases in doubt that were granted. May raise Unavailable; then they stay in doubt."""
        wishes = self._doubted
        # Asking again first: what is still under way from the last time can then no longer win unseen.
        with suppress(CorruptHistory):
            self._log.lease([wish.lease for wish in wishes], self._worker_id)
        histories, corrupt = readable(self._log, [wish.lease.job_id for wish in wishes])
        left = [wish for wish in wishes if (error := corrupt.get(wish.lease.job_id)) and not self._bury(wish, error)]
        self._doubted = left
        known = {job_id.int: history for job_id, history in histories.items()}
        return self._runs([wish for wish in wishes if wish not in left], known)

    def _runs(self, wishes: Sequence[_Wish], histories: Histories) -> list[Run]:
        runs: list[Run] = []
        for wish in wishes:
            history = _granted(wish, histories)
            if history is not None and (state := fold(history)) is not None:
                job = job_of(state, self._worker_id, history[0].trace.traceparent)
                runs.append(Run(state, job, wish.line))
            else:
                self._board.wipe(wish.line)
        return runs

    def _bury(self, wish: _Wish, error: CorruptHistory) -> bool:
        """Dead-letter a job that cannot be read, if its lease is ours; False if that must be tried again."""
        if error.queue is None or error.priority is None:
            return True
        detail = str(error)
        append = Append(
            job_id=wish.lease.job_id,
            events=(DeadLettered(reason="poison", retry_count=0, crash_count=0, detail=detail),),
            queue=error.queue,
            priority=Priority(error.priority),
            actor=f"worker:{self._worker_id}",
            after_version=wish.lease.version + 1,
            after_kind=Kind.LEASED,
            nonce=wish.lease.nonce,
        )
        (outcome,) = self._log.append([append])
        log.error("job cannot be read, dead-lettered", job_id=str(append.job_id), error=detail)
        return not isinstance(outcome, Blocked)


def _granted(wish: _Wish, histories: Histories) -> tuple[Entry, ...] | None:
    history = histories.get(wish.lease.job_id.int)
    last = history[-1].event if history else None
    return history if isinstance(last, Leased) and last.nonce == wish.lease.nonce else None
