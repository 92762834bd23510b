"""The log folded afresh by the rules in Python, beside the read models `jobs` and `dead_letters`, row by row.

One pass: events, jobs and dead letters come from server-side cursors in the order of job ids and are merged. A job is
compared as it was after the events that the read model's cursor has read, holes left out.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ledger import keys
from ledger.errors import CorruptHistory
from ledger.events import Priority
from ledger.job import JobState, State, fold
from ledger.postgres import grouped
from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from psycopg import Cursor

    from ledger_projections.projection import AnyConnection

    Row = tuple[Any, ...]
    Found = tuple[str, tuple[str, str, str]]
    """The projection, and (subject, expected, found)."""

JOBS = (
    "type", "queue", "priority", "state", "version", "attempt", "retry_count", "crash_count", "max_retries",
    "requeue_count", "requeued_at", "run_at", "expires_at", "created_at", "ready_at", "started_at", "completed_at",
    "updated_at", "worker_id", "correlation_id", "schedule_id",
)  # fmt: skip
DEAD_LETTERS = (
    "version", "type", "queue", "priority", "reason", "error_type", "error_message", "stack_trace", "attempt",
    "retry_count", "max_retries", "crash_count", "original_created_at", "failed_at", "requeued_at", "requeue_count",
)  # fmt: skip
"""The columns after job_id, as the statements select them."""

PAGE = 5000
_IN_JOBS, _IN_DEAD_LETTERS = 12, 13

_EVENTS = statement("ledger_projections", "verify/select_events")
_JOBS = statement("ledger_projections", "verify/select_jobs")
_DEAD_LETTERS = statement("ledger_projections", "verify/select_dead_letters")


class FreshFold:
    """One pass over the log; what it counts and collects is complete once `differences` is used up."""

    def __init__(self, connection: AnyConnection, jobs: Mapping[str, Any], dead_letters: Mapping[str, Any]) -> None:
        self._connection = connection
        self._how_far = {
            "jobs_high": jobs["high"],
            "jobs_holes": jobs["holes"],
            "dead_high": dead_letters["high"],
            "dead_holes": dead_letters["holes"],
        }
        self._parked = (set[UUID](jobs["parked"]), set[UUID](dead_letters["parked"]))
        self.jobs = 0
        self.dead = 0
        self.ready: dict[tuple[str, int], str] = {}
        """(job id, version) -> the dispatch stream it belongs on, for every job that is ready in this snapshot."""
        self.streams: set[str] = set()
        """Of every queue and priority that any job has named."""

    def differences(self, on_progress: Callable[[int], None]) -> Iterator[Found]:
        """Yield what the read models have otherwise than the rules say."""
        jobs = _Shelf(self._rows("verify_jobs", _JOBS))
        letters = _Shelf(self._rows("verify_dead_letters", _DEAD_LETTERS))
        events = 0
        for job_id, group in groupby(self._rows("verify_events", _EVENTS, self._how_far), itemgetter(0)):
            history = list(group)
            events += len(history)
            on_progress(events)
            self._note_ready(history)
            out_of_jobs, out_of_letters = (job_id in parked for parked in self._parked)
            expected = None if out_of_jobs else self._job(history)
            yield from _compared("jobs", JOBS, job_id, jobs, expected, skip=out_of_jobs)
            expected = None if out_of_letters else self._dead_letter(history)
            yield from _compared("dead_letters", DEAD_LETTERS, job_id, letters, expected, skip=out_of_letters)
        yield from _left("jobs", jobs)
        yield from _left("dead_letters", letters)

    def _job(self, history: list[Row]) -> Row | str | None:
        job = _folded(history, _IN_JOBS)
        self.jobs += job is not None
        return _job_row(job) if isinstance(job, JobState) else job

    def _dead_letter(self, history: list[Row]) -> Row | str | None:
        job = _folded(history, _IN_DEAD_LETTERS)
        if not isinstance(job, JobState):
            return job
        if job.state is not State.DEAD:
            return None
        self.dead += 1
        return _dead_letter_row(job)

    def _note_ready(self, history: list[Row]) -> None:
        job_id, version, _, _, kind, queue, priority, *_ = history[-1]
        stream = keys.stream(queue, Priority(priority))
        self.streams.add(stream)
        if kind == "enqueued":
            self.ready[str(job_id), version] = stream

    def _rows(self, name: str, sql: bytes, parameters: Mapping[str, Any] | None = None) -> Iterator[Row]:
        cursor: Cursor[Row]
        with self._connection.cursor(name=name, binary=True) as cursor:
            cursor.itersize = PAGE
            cursor.execute(sql, parameters)
            yield from cursor


class _Shelf:
    """Rows in the order of job ids, taken as far as they are asked for."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def before(self, job_id: UUID) -> Iterator[Row]:
        """Take the rows below this id."""
        while self._next is not None and self._next[0] < job_id:
            yield self._take(self._next)

    def at(self, job_id: UUID) -> Row | None:
        """Take this id's row, if it is the next one."""
        return self._take(self._next) if self._next is not None and self._next[0] == job_id else None

    def rest(self) -> Iterator[Row]:
        while self._next is not None:
            yield self._take(self._next)

    def _take(self, row: Row) -> Row:
        self._next = next(self._rows, None)
        return row


def _compared(
    name: str, columns: tuple[str, ...], job_id: UUID, shelf: _Shelf, expected: Row | str | None, *, skip: bool
) -> Iterator[Found]:
    for row in shelf.before(job_id):
        yield name, (str(row[0]), "no row", "a row")
    found = shelf.at(job_id)
    if skip:
        return
    if isinstance(expected, str):
        yield name, (str(job_id), "a history that can be read", expected)
    elif expected is None or found is None:
        if expected is not None:
            yield name, (str(job_id), "a row", "no row")
        elif found is not None:
            yield name, (str(job_id), "no row", "a row")
    elif expected != found[1:]:
        unlike = [(c, e, f) for c, e, f in zip(columns, expected, found[1:], strict=True) if e != f]
        yield name, (str(job_id), _said((c, e) for c, e, _ in unlike), _said((c, f) for c, _, f in unlike))


def _left(name: str, shelf: _Shelf) -> Iterator[Found]:
    for row in shelf.rest():
        yield name, (str(row[0]), "no row", "a row")


def _folded(history: list[Row], included: int) -> JobState | str | None:
    """Return the job after the events that are included, or why they cannot be read."""
    try:
        entries = grouped(row[:_IN_JOBS] for row in history if row[included])
        return fold(next(iter(entries.values()), ()))
    except CorruptHistory as error:
        return str(error)


def _job_row(job: JobState) -> Row:
    request = job.request
    return (
        request.type, job.queue, job.priority, job.state.value, job.version, job.attempt, job.retry_count,
        job.crash_count, request.max_retries, job.requeue_count, job.requeued_at, job.run_at, request.start_by,
        job.created_at, job.ready_at, job.started_at, job.completed_at, job.updated_at, job.worker_id,
        job.correlation_id, request.schedule_id,
    )  # fmt: skip


def _dead_letter_row(job: JobState) -> Row:
    failure, death = job.failure, job.death
    error = (None, None, None) if failure is None else (failure.error_type, failure.error_message, failure.stack_trace)
    return (
        job.version, job.request.type, job.queue, job.priority, None if death is None else death.reason, *error,
        job.attempt, job.retry_count, job.request.max_retries, job.crash_count, job.created_at, job.completed_at,
        job.requeued_at, job.requeue_count,
    )  # fmt: skip


def _said(members: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in members)
