"""Group commit, the one place where appends are gathered: those that are wanted at the same moment go into the log in
one statement and one flush.

Nobody waits for company. Who finds nobody writing writes at once; what comes meanwhile is written together, as soon as
that is done. So the busier the log, the larger the groups, and an idle one costs nothing.

`Appender` is for those who wait for the answer: the first of the threads that wait writes for all. `Outbox` is for
those who do not: a thread of its own writes, and keeps what Postgres cannot take now until it can. In both, the log's
refusal of one append harms no other.
"""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog

from ledger.errors import Unavailable
from ledger.runtime import places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

    from ledger.log import Append, Outcome

    Write = Callable[[Sequence[Append]], Sequence[Outcome]]

T = TypeVar("T")
R = TypeVar("R")

log = structlog.get_logger()

LARGEST = 300
"""Appends in a group, but for one call that brings more. Larger ones save next to nothing, and those who write them and
those who bring them wait for each other longer."""

_PUT_OFF_LOOK = 0.2
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


def apart(write: Callable[[Sequence[T]], Sequence[R]], wanted: Sequence[T]) -> list[R | Exception]:
    """Write all together; where the log is well but will not have one of them, each as far as it must by itself.

    Raises Unavailable alone: then nobody knows what was written.
    """
    try:
        return list(write(wanted))
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 — told to whose trouble it is
        if len(wanted) == 1:
            return [error]
    middle = len(wanted) // 2
    return apart(write, wanted[:middle]) + apart(write, wanted[middle:])


class _Ticket:
    """One call's appends, and what came of them."""

    __slots__ = ("_turn", "answer", "appends", "leads")

    def __init__(self, appends: Sequence[Append]) -> None:
        self.appends = appends
        self.answer: Sequence[Outcome] | BaseException | None = None
        self.leads = False
        self._turn = threading.Lock()
        self._turn.acquire()

    def wait(self) -> None:
        places.leave()
        self._turn.acquire()

    def call(self) -> None:
        self._turn.release()


class Appender:
    """Writes the appends of all threads through `write`, one group at a time."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._waiting: list[_Ticket] = []
        self._writing = False

    def append(self, appends: Sequence[Append]) -> list[Outcome]:
        """Return what came of these appends, once all is durable; raise what `write` raised of them."""
        ticket: _Ticket | None = None
        with self._lock:
            if self._writing:
                ticket = _Ticket(appends)
                self._waiting.append(ticket)
            self._writing = True
        if ticket is None:
            try:
                return list(self._write(appends))
            finally:
                self._hand_over()
        ticket.wait()
        if ticket.leads:
            self._lead(ticket)
        if isinstance(ticket.answer, BaseException):
            raise ticket.answer
        assert ticket.answer is not None
        return list(ticket.answer)

    def _lead(self, first: _Ticket) -> None:
        """Write for all that wait, and let the first that came meanwhile lead the next group."""
        group = self._group(first)
        answers: Sequence[Sequence[Outcome] | Exception] = [Unavailable("the write was interrupted")] * len(group)
        try:
            answers = apart(self._write_tickets, group)
        except Unavailable as error:
            answers = [error] * len(group)
        finally:
            for ticket, answer in zip(group, answers, strict=True):
                ticket.answer = answer
            self._hand_over()
            for ticket in group[1:]:
                ticket.call()

    def _write_tickets(self, group: Sequence[_Ticket]) -> list[Sequence[Outcome]]:
        outcomes = iter(self._write([append for ticket in group for append in ticket.appends]))
        return [[next(outcomes) for _ in ticket.appends] for ticket in group]

    def _group(self, first: _Ticket) -> list[_Ticket]:
        """Take those that can go together: a statement takes a job only once."""
        group, jobs = [first], {append.job_id for append in first.appends}
        with self._lock:
            left: list[_Ticket] = []
            for ticket in self._waiting:
                if _fits(ticket, jobs):
                    group.append(ticket)
                    jobs.update(append.job_id for append in ticket.appends)
                else:
                    left.append(ticket)
            self._waiting = left
        return group

    def _hand_over(self) -> None:
        with self._lock:
            if not self._waiting:
                self._writing = False
                return
            following = self._waiting.pop(0)
        following.leads = True
        following.call()


def _fits(ticket: _Ticket, jobs: set[UUID]) -> bool:
    return len(jobs) + len(ticket.appends) <= LARGEST and all(append.job_id not in jobs for append in ticket.appends)


class Outbox(Generic[T]):
    """What is to be appended, taken from any thread and written by one of its own until it is in.

    `write` appends a group; it is called again with the same when it raises Unavailable, and must know then what it has
    written before. `settle` is given what was written with its outcomes, or with an exception what the log will not
    have, and returns what is to be tried again, and in how many seconds.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[Sequence[T]], Sequence[Outcome]],
        settle: Callable[[Sequence[T], Sequence[Outcome | Exception]], Iterable[tuple[T, float]]],
        **facts: object,
    ) -> None:
        self._write = write
        self._settle = settle
        self._log = log.bind(**facts)
        self._name = name
        self._posted: SimpleQueue[T | None] = SimpleQueue()
        self._put_off: list[tuple[T, float]] = []
        self._stopping = False
        self._give_up = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def post(self, item: T) -> None:
        """Take it; returns at once."""
        self._posted.put(item)

    def stop(self, timeout: float) -> bool:
        """Write what is there and end; give up what has not gone in after so many seconds. True if all has."""
        self._posted.put(None)
        self._thread.join(timeout)
        self._give_up.set()
        return not self._thread.is_alive()

    def run_once(self, timeout: float | None = None) -> bool:
        """Write what has gathered, waiting for the first one; False once told to stop and nothing is left."""
        group = self._gather(_PUT_OFF_LOOK if self._put_off else timeout)
        if group:
            self._write_out(group)
        elif self._put_off and self._stopping:
            self._give_up.wait(_PUT_OFF_LOOK)
        return bool(group or self._put_off) or not self._stopping

    def _loop(self) -> None:
        while self.run_once() and not self._give_up.is_set():
            pass

    def _gather(self, timeout: float | None) -> list[T]:
        group = self._ripe()
        try:
            while len(group) < LARGEST:
                wait = not group and not self._stopping
                item = self._posted.get(timeout=timeout) if wait else self._posted.get_nowait()
                if item is None:
                    self._stopping = True
                else:
                    group.append(item)
        except Empty:
            pass
        return group

    def _ripe(self) -> list[T]:
        if not self._put_off:
            return []
        now = time.monotonic()
        ripe = [item for item, at in self._put_off if at <= now]
        self._put_off = [(item, at) for item, at in self._put_off if at > now]
        return ripe

    def _write_out(self, group: Sequence[T]) -> None:
        while group:
            try:
                answers = self._written(group)
            except Unavailable as error:
                self._log.error(f"{self._name} given up", count=len(group), error=str(error))
                return
            again = [(item, pause) for item, pause in self._settle(group, answers)]
            now = time.monotonic()
            self._put_off += [(item, now + pause) for item, pause in again if pause]
            group = [item for item, pause in again if not pause]

    def _written(self, group: Sequence[T]) -> list[Outcome | Exception]:
        """Write until Postgres answers; raise Unavailable once told to give up."""
        pause, told = _FIRST_PAUSE, False
        while True:
            try:
                answers = apart(self._write, group)
            except Unavailable as error:
                if not told:
                    self._log.warning(f"{self._name} wait", count=len(group), error=str(error))
                told = True
                if self._give_up.wait(pause):
                    raise
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                if told:
                    self._log.info(f"{self._name} recorded after all", count=len(group))
                return answers
