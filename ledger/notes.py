"""Notes: what handlers say while they run, kept beside the log and bounded for each run.

They are for eyes, and decide nothing: losing one is no loss to its job. Of a run that says very much the first hundred
and the last hundred are kept; the numbers show how many are missing in between.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import orjson

from ledger.codec import rfc3339
from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from ledger.running import Token
    from ledger.runtime.database import Database

MOST_AT_EACH_END = 100
"""The statement that writes them says the same."""

_WRITE = statement("ledger", "notes/write")
_SELECT = statement("ledger", "notes/select")


class Note(msgspec.Struct, frozen=True):
    """One thing that a handler said."""

    lease_version: int
    attempt: int | None
    number: int
    """1, 2, 3 … within the run."""
    at: datetime
    progress: float | None
    message: str | None


class Said(NamedTuple):
    """A note on its way to the table."""

    number: int
    moment: float
    """By this process' monotonic clock."""
    progress: float | None
    message: str | None


class RunNotes:
    """What one run has said and nobody has written down yet. Safe to share by threads."""

    def __init__(self, token: Token) -> None:
        self.token = token
        self._lock = threading.Lock()
        self._number = 0
        self._first: list[Said] = []
        self._last: deque[Said] = deque(maxlen=MOST_AT_EACH_END)

    def add(self, progress: float | None, message: str | None) -> None:
        """Take a note; of those that would not be kept anyway it lets go."""
        with self._lock:
            self._number += 1
            place = self._first if self._number <= MOST_AT_EACH_END else self._last
            place.append(Said(self._number, time.monotonic(), progress, message))

    def take(self) -> list[Said]:
        """Return what is to be written, oldest first."""
        with self._lock:
            taken = [*self._first, *self._last]
            self._first.clear()
            self._last.clear()
            return taken

    @property
    def is_empty(self) -> bool:
        return not (self._first or self._last)


def write(database: Database, notes: Iterable[RunNotes]) -> None:
    """Write down what these runs have said. May raise Unavailable; then it is lost."""
    now = time.monotonic()
    rows = [
        {
            "job_id": str(each.token.job_id),
            "lease_version": each.token.lease_version,
            "number": said.number,
            "age": now - said.moment,
            "progress": said.progress,
            "message": said.message,
        }
        for each in notes
        for said in each.take()
    ]
    if rows:
        with database.connection() as connection:
            connection.execute(_WRITE, {"notes": orjson.dumps(rows).decode()})


def read(database: Database, job_id: UUID) -> list[Note]:
    """Return what the handlers of a job have said, oldest first."""
    with database.connection() as connection:
        return [Note(*row) for row in connection.execute(_SELECT, {"job_id": job_id}).fetchall()]


def note_resource(note: Note) -> dict[str, Any]:
    """Return the resource Note."""
    return msgspec.structs.asdict(note) | {"at": rfc3339(note.at)}
