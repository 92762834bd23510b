"""The fetcher: free slots, messages for them, one leasing statement, and off to the places.

A message is acknowledged once its lease is on record, or known to be no use; until then it stays with Redis as pending,
and another worker takes it over should this one die. While Redis is away, ready jobs come from the read model.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING

import structlog

from ledger import commands
from ledger.appender import LARGEST
from ledger.errors import Unavailable
from ledger_workers.pauses import LOOK_EVERY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta
    from uuid import UUID

    from ledger.handlers import Handlers
    from ledger.verdicts import Verdict
    from ledger_workers.board import Board
    from ledger_workers.leases import Leases, Run
    from ledger_workers.messages import Delivery, Messages
    from ledger_workers.metrics import Meters
    from ledger_workers.pauses import Pauses
    from ledger_workers.ready import Ready
    from ledger_workers.slots import Slots
    from ledger_workers.strangers import Strangers

log = structlog.get_logger()

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_LONGEST_WAIT_FOR_A_SLOT = 0.5
_MOST_AT_ONCE = LARGEST
"""Jobs in a leasing statement: what it brings, the other end puts on record in groups of this size."""
_HEAD_START = 100e-6
"""Seconds that the thread of a single job is given to wake: else it waits for the interpreter until we wait again."""


class Fetcher:
    """Feeds the places; turned by two. `run_once` may raise Unavailable, of Postgres only.

    When jobs are so short that more are held than run at once, one turn reads messages while the one before it leases.
    """

    def __init__(
        self,
        *,
        messages: Messages,
        ready: Ready,
        strangers: Strangers,
        leases: Leases,
        pauses: Pauses,
        slots: Slots,
        board: Board,
        handlers: Handlers,
        meters: Meters,
        poll: timedelta,
        silence: timedelta,
        drained: Callable[[], None] | None,
        begin: Callable[[Sequence[Run]], None],
        conclude: Callable[[Run, Verdict], None],
    ) -> None:
        self._messages = messages
        self._ready = ready
        self._strangers = strangers
        self._leases = leases
        self._pauses = pauses
        self._slots = slots
        self._board = board
        self._handlers = handlers
        self._meters = meters
        self._poll = poll.total_seconds()
        self._silence = silence
        self._drained = drained
        """Called, where there is one, when nothing is held and nothing is ready, in Redis or in the read model."""
        self._begin = begin
        self._conclude = conclude
        self._stop = threading.Event()
        self._reading = threading.Lock()
        self._leasing = threading.Lock()
        self._kept: list[Delivery] = []
        """Taken from Redis and not leased yet."""
        self._refused: deque[list[Delivery]] = deque()
        """Batches that Postgres would not lease."""
        self._failing = False
        self._pause = 0.0
        self._redis_again_at = 0.0
        self._take_over_at = 0.0

    def run(self) -> None:
        """Turn until stopped; never raises. Two threads may run it: one reads while the other leases."""
        pause = 0.0
        while not self._stop.is_set():
            try:
                self.run_once()
                if self._failing:
                    self._failing = False
                    log.info("leasing again")
                pause = 0.0
            except Exception as error:
                if not isinstance(error, Unavailable):
                    log.exception("fetching failed")
                elif not self._failing:
                    self._failing = True
                    log.warning("leasing waits", error=str(error))
                pause = min(max(pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
                self._stop.wait(pause)

    def run_once(self) -> None:
        """Fill the slots that are free, waiting for one, and for work, for about the poll interval at most."""
        with ExitStack() as reading:
            reading.enter_context(self._reading)
            batch = self._next()
            if not batch:
                return
            with self._leasing:  # taken before others may read: jobs are leased in the order of their messages
                if self._slots.are_ahead:
                    reading.close()
                self._lease_all(batch)

    def stop(self) -> None:
        """Take nothing more; from any thread. What is being leased at this moment still comes."""
        self._stop.set()
        self._slots.wake()
        self._messages.stop()

    def leave(self) -> None:
        """Give back to Redis all that is not leased; to be called once `run` has ended."""
        try:
            self._messages.put_back([*self._kept, *chain.from_iterable(self._refused), *self._strangers.all()])
            self._messages.close()
        except Unavailable as error:
            log.warning("left without word to Redis", error=str(error))

    def _next(self) -> list[Delivery]:
        """Return the messages of the jobs to lease now, with a slot taken for each."""
        free = min(self._slots.wait(_LONGEST_WAIT_FOR_A_SLOT), _MOST_AT_ONCE)
        self._board.beat(self._slots.held)
        if self._stop.is_set():
            return []
        if self._leases.in_doubt:
            with self._leasing:
                self._hold(self._leases.recover())
            return []
        self._pauses.look_again()
        while self._refused:
            self._kept += self._refused.popleft()
        if not self._kept and self._redis_may_be_up():
            self._read(free)
        if not self._kept and free > 0 and (self._drained or not self._redis_may_be_up()):
            self._from_the_log(free)
        batch, self._kept = self._kept, []
        self._slots.take(len(batch))
        return batch

    def _lease_all(self, batch: list[Delivery]) -> None:
        """Lease what these messages name, begin the runs, and acknowledge."""
        runs: list[Run] = []
        try:
            runs = self._leases.take(delivery.message for delivery in batch)
            self._begin_all(runs)
            back: list[Delivery] = []
            if len(runs) < len(batch):
                back, rest = self._parted(batch, {run.job.id for run in runs})
                again = self._leases.take(delivery.message for delivery in rest)
                runs += again
                self._begin_all(again)
            self._messages.acknowledge(delivery for delivery in batch if delivery not in back)
            self._messages.put_back(back)
        except BaseException:
            self._refused.append(batch)
            raise
        finally:
            self._slots.give_back(len(batch) - len(runs))

    def _from_the_log(self, free: int) -> None:
        """Lease what the read model says is ready, and Redis has not brought."""
        if found := [message for message in self._ready.take(free) if message.job_id not in self._strangers]:
            with self._leasing:
                self._hold(self._leases.take(found))
        elif self._drained and not self._slots.held:
            self._pauses.look()
            if self._pauses.queues:
                log.info("paused queues are not waited for", queues=sorted(self._pauses.queues))
            self._drained()
            self._stop.wait()
        elif not self._redis_may_be_up():
            self._stop.wait(self._poll)

    def _read(self, free: int) -> None:
        try:
            self._tidy()
            found = self._messages.read(free) if free > 0 and not self._pauses.leave_nothing else self._rest()
        except Unavailable as error:
            self._redis_went(error)
            return
        self._redis_is_back()
        for delivery in found:
            if delivery.message.type in self._handlers and delivery.message.job_id not in self._strangers:
                self._kept.append(delivery)
            else:
                self._strangers.hold(delivery)

    def _rest(self) -> list[Delivery]:
        """Bring nothing, since there is no slot or no queue to ask."""
        found = self._messages.flush()
        if self._pauses.leave_nothing:
            self._stop.wait(LOOK_EVERY)
        return found

    def _parted(self, batch: list[Delivery], leased: set[UUID]) -> tuple[list[Delivery], list[Delivery]]:
        """Return the messages whose lease was refused: those of paused queues, which are needed later, and the others.

        The others are of no use, unless their queue was paused then and is not any more: so they are asked for again.
        """
        self._pauses.look()
        refused = [each for each in batch if each.message.job_id not in leased]
        back = [each for each in refused if each.queue in self._pauses.queues]
        return back, [each for each in refused if each not in back]

    def _hold(self, runs: list[Run]) -> None:
        self._slots.take(len(runs))
        self._begin_all(runs)

    def _begin_all(self, runs: list[Run]) -> None:
        able: list[Run] = []
        for run in runs:
            if self._handlers.can_run(run.job):
                able.append(run)
            elif run.settle():
                # The message named another type than the log does, or the payload is newer than the handler.
                state = run.state
                self._strangers.remember(state.id)
                self._conclude(run, lambda _, state=state: commands.release(state, "unknown_type"))
                if run.part():
                    self._slots.free(1)
        self._begin(able)
        if len(able) == 1:
            self._stop.wait(_HEAD_START)
        for run in runs:
            self._meters.waited(run.state)

    def _tidy(self) -> None:
        if due := self._strangers.due():
            self._messages.put_back(due)
        if time.monotonic() >= self._take_over_at:
            self._take_over_at = time.monotonic() + self._silence.total_seconds() / 2
            if moved := self._messages.take_over(self._silence):
                log.info("messages of silent workers put back", count=moved)

    def _redis_may_be_up(self) -> bool:
        return time.monotonic() >= self._redis_again_at

    def _redis_went(self, error: Unavailable) -> None:
        if not self._pause:
            log.warning("Redis is away; ready jobs are taken from the log's read model", error=str(error))
            self._ready.forget()
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        self._redis_again_at = time.monotonic() + self._pause

    def _redis_is_back(self) -> None:
        if self._pause:
            log.info("Redis is back")
            self._pause = 0.0
