"""The notes of a worker process: gathered from all its runs, written about once a second, and before an outcome.

An outcome whose run has said something waits for its notes, together with all the others that wait at that moment;
outcomes of silent runs pass by. What cannot be written is lost, and no job ever fails for it.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import structlog

from ledger import notes
from ledger.errors import Unavailable
from ledger.notes import RunNotes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ledger.runtime.database import Database
    from ledger.verdicts import Verdict
    from ledger_workers.leases import Run

log = structlog.get_logger()

_EVERY = 1.0
_TO_WRITE = 5.0


class Notes:
    """Hears the runs, from any thread; one thread of its own writes."""

    def __init__(self, database: Database, conclude: Callable[[Run, Verdict], None]) -> None:
        self._database = database
        self._conclude = conclude
        self._news = threading.Condition()
        self._talking: dict[int, RunNotes] = {}
        self._leaving: list[tuple[Run, Verdict]] = []
        self._stopping = False
        self._written_at = 0.0
        self._thread = threading.Thread(target=self._run, name="notes", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, let the outcomes go on, and end."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        self._thread.join(_TO_WRITE)

    def listen(self, run: Run) -> None:
        """Hear what the run's handler says from now on."""
        run.job.listen(partial(self._hear, run))

    def conclude(self, run: Run, verdict: Verdict) -> None:
        """Pass a verdict on, after the notes of its run."""
        if run.notes is not None and not run.notes.is_empty:
            with self._news:
                if not self._stopping:
                    self._leaving.append((run, verdict))
                    self._news.notify_all()
                    return
        self._conclude(run, verdict)

    def _hear(self, run: Run, progress: float | None, message: str | None) -> None:
        with self._news:
            if run.notes is None:
                run.notes = RunNotes(run.job.token)
            run.notes.add(progress, message)
            if id(run) not in self._talking:
                self._talking[id(run)] = run.notes
                self._news.notify_all()

    def _run(self) -> None:
        goes_on = True
        while goes_on:
            talking, leaving, goes_on = self._gather()
            self._write(talking)
            for run, verdict in leaving:
                self._conclude(run, verdict)

    def _gather(self) -> tuple[list[RunNotes], list[tuple[Run, Verdict]], bool]:
        with self._news:
            self._news.wait_for(lambda: self._talking or self._leaving or self._stopping)
            rest = self._written_at + _EVERY - time.monotonic()
            self._news.wait_for(lambda: self._leaving or self._stopping, max(rest, 0.0))
            self._written_at = time.monotonic()
            talking, self._talking = list(self._talking.values()), {}
            leaving, self._leaving = self._leaving, []
            return talking, leaving, not self._stopping

    def _write(self, talking: Iterable[RunNotes]) -> None:
        try:
            notes.write(self._database, talking)
        except Unavailable as error:
            log.info("notes lost", error=str(error))
        except Exception:
            log.exception("notes lost")
