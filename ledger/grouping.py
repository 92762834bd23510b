"""Group commit: appends that several threads want at the same moment go into the log in one statement and one flush.

Nobody waits for company. A thread that finds nobody writing writes at once; those that come while it does are written
together, by the first of them, as soon as it is done. So the busier the log, the larger the groups, and an idle one
costs nothing.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ledger.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from ledger.log import Append, Outcome

    Write = Callable[[Sequence[Append]], list[Outcome]]

LARGEST = 1000
"""Appends in a group, but for one call that brings more."""


class _Ticket:
    """One call's appends, and what came of them."""

    __slots__ = ("_turn", "appends", "error", "leads", "outcomes")

    def __init__(self, appends: Sequence[Append]) -> None:
        self.appends = appends
        self.outcomes: list[Outcome] | None = None
        self.error: BaseException | None = None
        self.leads = False
        self._turn = threading.Lock()
        self._turn.acquire()

    def wait(self) -> None:
        self._turn.acquire()

    def call(self) -> None:
        self._turn.release()


class Group:
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
                return self._write(appends)
            finally:
                self._hand_over()
        ticket.wait()
        if ticket.leads:
            self._lead(ticket)
        if ticket.error is not None:
            raise ticket.error
        # Left without an answer: somebody else's appends could not be written, which must not be our trouble.
        return self._write(appends) if ticket.outcomes is None else ticket.outcomes

    def _lead(self, first: _Ticket) -> None:
        """Write for all that wait, and let the first that came meanwhile lead the next group."""
        group = self._group(first)
        try:
            outcomes = self._write([append for ticket in group for append in ticket.appends])
            start = 0
            for ticket in group:
                ticket.outcomes = outcomes[start : start + len(ticket.appends)]
                start += len(ticket.appends)
        except Unavailable as error:
            # Nobody knows whether it was written: that is what every one of them must be told.
            for ticket in group:
                ticket.error = error
        except BaseException as error:  # noqa: BLE001 — raised again by the thread whose trouble it is
            if len(group) == 1:
                first.error = error
        finally:
            self._hand_over()
            for ticket in group[1:]:
                ticket.call()

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
