"""What handlers say in the test modes: heard, and bounded for each run as in life."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from ledger.notes import MOST_AT_EACH_END, Note

if TYPE_CHECKING:
    from uuid import UUID

    from ledger.running import Job, Token
    from ledger.runtime.clock import Clock


class _Page:
    """The notes of one run."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Note] = []
        self.last: deque[Note] = deque(maxlen=MOST_AT_EACH_END)


class Notebook:
    """The notes of all runs within one mode."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pages: dict[Token, _Page] = {}

    def listen(self, job: Job) -> None:
        """Hear what the handler of this run says."""
        job.listen(partial(self._hear, job))

    def of(self, job_id: UUID) -> list[Note]:
        """Return the notes of one job, oldest first."""
        pages = [page for token, page in self._pages.items() if token.job_id == job_id]
        return [note for page in pages for note in (*page.first, *page.last)]

    def _hear(self, job: Job, progress: float | None, message: str | None) -> None:
        page = self._pages.setdefault(job.token, _Page())
        page.count += 1
        place = page.first if page.count <= MOST_AT_EACH_END else page.last
        place.append(Note(job.token.lease_version, job.attempt, page.count, self._clock.now(), progress, message))
