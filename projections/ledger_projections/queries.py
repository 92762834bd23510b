"""The read door: lists, counts, dead letters, statistics and lag, read from the read models in `ledger_read`.

Nothing is ever counted by scanning jobs: counts are kept by `queue_stats`. A list gets its order, filters and versions
from a read model, and its jobs from the log, folded up to exactly those versions; so a list can be late, never wrong.
Filtered lists are composed with SQLAlchemy Core; everything else is a statement in `sql/queries`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import orjson
from psycopg.rows import dict_row
from sqlalchemy import ARRAY, any_, func, literal, literal_column, or_, select, tuple_
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from ledger.events import Priority
from ledger.job import fold
from ledger.postgres import grouped
from ledger.runtime.statements import statement
from ledger_projections.builtin import PROJECTIONS
from ledger_projections.filters import DeadLetterFilter, ExecutionFilter, JobFilter
from ledger_projections.paging import Page, Place, check_limit, cut, decode_cursor
from ledger_projections.percentiles import percentiles
from ledger_projections.read_tables import ATTEMPTS, DEAD_LETTERS, JOBS
from ledger_projections.reading import reading
from ledger_projections.views import (
    DeadLetter,
    DepthByPriority,
    ExecutionCounts,
    JobCounts,
    JobExecution,
    Projection,
    QueueInfo,
    QueueStats,
    Stats,
    Worker,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from psycopg import Connection
    from psycopg.rows import DictRow, TupleRow
    from sqlalchemy import Column, ColumnElement, Select

    from ledger.job import JobState
    from ledger.runtime.database import Database

PROJECTION_NAMES = (*(projection.name for projection in PROJECTIONS), "dispatch")

STOPPED_AFTER = timedelta(seconds=30)
"""A projection with something to read whose cursor has stood still for so long is not being served."""

_HISTORIES = statement("ledger_projections", "queries/select_page_histories")
_REQUESTS = statement("ledger_projections", "queries/select_requests")
_QUEUE_INFOS = statement("ledger_projections", "queries/select_queue_infos")
_QUEUE_WINDOW = statement("ledger_projections", "queries/select_queue_window")
_QUEUE_HISTOGRAMS = statement("ledger_projections", "queries/select_queue_histograms")
_STATS = statement("ledger_projections", "queries/select_stats")
_WORKERS = statement("ledger_projections", "queries/select_workers")
_LAG = statement("ledger_projections", "queries/select_lag")

_DIALECT = PGDialect_psycopg()


class Lag(msgspec.Struct, frozen=True):
    """How far a read model is behind the log: `seconds` is the age of the oldest event it has not read."""

    seconds: float
    events: int


class Queries:
    """Reads the read models. Every method may raise Unavailable, also while there are no read models yet."""

    def __init__(self, database: Database, *, silent_after: timedelta = timedelta(seconds=30)) -> None:
        self._database = database
        self._silent_after = silent_after
        """The silence after which a worker is not alive: the scheduler's own limit."""

    def list_jobs(
        self, filters: JobFilter, *, limit: int = 100, cursor: str | None = None, with_payload: bool = False
    ) -> Page[JobState]:
        """Return a page of jobs by (created_at, id), each as its history is up to the version the list knows."""
        after = decode_cursor(cursor, filters)
        query = _ordered_jobs(filters, after).limit(check_limit(limit) + 1)
        with reading(self._database) as connection:
            rows, next_cursor = cut(_fetch(connection, query), limit, _job_place, filters)
            return Page(tuple(_folded(connection, rows, with_payload)), next_cursor)

    def job_ids(self, filters: JobFilter, limit: int) -> list[UUID]:
        """Return the ids of up to `limit` jobs that match, in the list's order: for bulk actions."""
        with reading(self._database) as connection:
            return [row["job_id"] for row in _fetch(connection, _ordered_jobs(filters, None).limit(limit))]

    def list_dead_letters(
        self, filters: DeadLetterFilter, *, limit: int = 100, cursor: str | None = None, offset: int = 0
    ) -> Page[DeadLetter]:
        """Return a page of the jobs that are dead now, the latest death first."""
        after = decode_cursor(cursor, filters)
        query = _ordered_dead_letters(filters, after).limit(check_limit(limit) + 1).offset(offset)
        with reading(self._database) as connection:
            rows, next_cursor = cut(_fetch(connection, query), limit, _dead_letter_place, filters)
            return Page(tuple(_dead_letters(connection, rows)), next_cursor)

    def dead_letter_ids(self, filters: DeadLetterFilter, limit: int) -> list[UUID]:
        """Return the job ids of up to `limit` dead letters that match, the latest first: for bulk actions."""
        with reading(self._database) as connection:
            return [row["job_id"] for row in _fetch(connection, _ordered_dead_letters(filters, None).limit(limit))]

    def get_dead_letter(self, id_: str) -> DeadLetter | None:
        """Return the dead letter named by a job id or by `<job id>:<version>`; None unless the job is dead of that."""
        job_id, _, version = id_.partition(":")
        try:
            filters = DeadLetterFilter(ids=(UUID(job_id),))
        except ValueError:
            return None
        found = self.list_dead_letters(filters, limit=1).items
        return found[0] if found and version in ("", str(found[0].version)) else None

    def list_executions(
        self, filters: ExecutionFilter, *, limit: int = 100, cursor: str | None = None, offset: int = 0
    ) -> Page[JobExecution]:
        """Return a page of attempts, the latest started first."""
        after = decode_cursor(cursor, filters)
        query = _ordered_attempts(filters, after).limit(check_limit(limit) + 1).offset(offset)
        with reading(self._database) as connection:
            rows, next_cursor = cut(_fetch(connection, query), limit, _attempt_place, filters)
            return Page(tuple(_executions(connection, rows)), next_cursor)

    def queue_infos(self) -> list[QueueInfo]:
        """Return every queue that a job or a live worker has named, by name."""
        with reading(self._database) as connection:
            return [_queue_info(row) for row in self._queue_rows(connection, None)]

    def queue_info(self, name: str) -> QueueInfo:
        """Return one queue; one that nobody has used is empty."""
        with reading(self._database) as connection:
            return _queue_info(self._queue_rows(connection, name)[0])

    def queue_stats(self, name: str, window: timedelta = timedelta(hours=1)) -> QueueStats:
        """Return a queue and what went through it in the window that ends now."""
        parameters = {"queue": name, "window": window}
        with reading(self._database) as connection:
            now = self._queue_rows(connection, name)[0]
            (flow,) = _rows(connection, _QUEUE_WINDOW, parameters)
            buckets = _rows(connection, _QUEUE_HISTOGRAMS, parameters)
        return _queue_stats(now, flow, buckets, window)

    def stats(self) -> Stats:
        """Return the whole system's counts."""
        with reading(self._database) as connection:
            (row,) = _rows(connection, _STATS, {})
        jobs = {name.removeprefix("jobs_"): row.pop(name) for name in list(row) if name.startswith("jobs_")}
        return Stats(
            executions_24h=ExecutionCounts(completed=row["succeeded"], **row),
            dead_letter_count=jobs["dead"],
            jobs=JobCounts(**jobs),
        )

    def list_workers(self) -> list[Worker]:
        """Return the worker processes that have shown themselves within a day, by id."""
        with reading(self._database) as connection:
            return [Worker(**row) for row in _rows(connection, _WORKERS, {"silent_after": self._silent_after})]

    def list_projections(self) -> list[Projection]:
        """Return every projection with how far it has read, by name."""
        with reading(self._database) as connection:
            return [_projection(row) for row in _rows(connection, _LAG, {"names": list(PROJECTION_NAMES)})]

    def lag(self) -> dict[str, Lag]:
        """Return how far each projection is behind the log."""
        return {view.name: Lag(view.lag_seconds, view.lag_events) for view in self.list_projections()}

    def _queue_rows(self, connection: Connection[TupleRow], name: str | None) -> list[DictRow]:
        return _rows(connection, _QUEUE_INFOS, {"queue": name, "silent_after": self._silent_after})


def _ordered_jobs(filters: JobFilter, after: Place | None) -> Select[Any]:
    order = tuple_(JOBS.c.created_at, JOBS.c.job_id)
    query: Select[Any] = select(JOBS).where(
        *_among(JOBS.c.job_id, filters.ids),
        *_among(JOBS.c.state, filters.states),
        *_among(JOBS.c.type, filters.types),
        *_among(JOBS.c.queue, filters.queues),
        *_among(JOBS.c.priority, filters.priorities),
        *_run_by(filters.worker_id),
        *_equal(JOBS.c.correlation_id, filters.correlation_id),
        *_equal(JOBS.c.schedule_id, filters.schedule_id),
        *_within(JOBS.c.created_at, filters.created_after, filters.created_before),
    )
    if after is not None:
        place = tuple_(literal(after.at, JOBS.c.created_at.type), literal(after.id, JOBS.c.job_id.type))
        query = query.where(order > place if filters.oldest_first else order < place)
    if filters.oldest_first:
        return query.order_by(JOBS.c.created_at, JOBS.c.job_id)
    return query.order_by(JOBS.c.created_at.desc(), JOBS.c.job_id.desc())


def _ordered_dead_letters(filters: DeadLetterFilter, after: Place | None) -> Select[Any]:
    table = DEAD_LETTERS.c
    query = select(DEAD_LETTERS).where(
        *_among(table.job_id, filters.ids),
        *_among(table.type, filters.types),
        *_among(table.queue, filters.queues),
        *_within(table.failed_at, filters.failed_after, filters.failed_before),
    )
    if filters.error_contains is not None:
        part = func.lower(filters.error_contains)
        query = query.where(
            or_(*(func.strpos(func.lower(text), part) > 0 for text in (table.error_type, table.error_message)))
        )
    if after is not None:
        later = or_(table.failed_at < after.at, table.job_id > after.id)
        query = query.where(table.failed_at <= after.at, later)
    return query.order_by(table.failed_at.desc(), table.job_id)


def _ordered_attempts(filters: ExecutionFilter, after: Place | None) -> Select[Any]:
    table = ATTEMPTS.c
    query = select(ATTEMPTS).where(
        *_equal(table.job_id, filters.job_id),
        *_among(table.type, filters.types),
        *_among(table.state, filters.states),
        *_among(table.queue, filters.queues),
        *_equal(table.worker_id, filters.worker_id),
        *_within(table.started_at, filters.started_after, filters.started_before),
    )
    order = (table.started_at, table.job_id, table.lease_version)
    if after is not None:
        place = zip((after.at, after.id, after.version), order, strict=True)
        query = query.where(tuple_(*order) < tuple_(*(literal(value, column.type) for value, column in place)))
    return query.order_by(*(column.desc() for column in order))


def _among(column: Column[Any], values: Sequence[Any]) -> Iterable[ColumnElement[bool]]:
    # One value as an equality: only then does an index on (column, order) give the list's order too.
    if len(values) == 1:
        return (column == values[0],)
    return (column == any_(literal(list(values), ARRAY(column.type))),) if values else ()


def _equal(column: Column[Any], value: object) -> Iterable[ColumnElement[bool]]:
    return () if value is None else (column == value,)


def _run_by(worker_id: str | None) -> Iterable[ColumnElement[bool]]:
    # Only a running job has a worker, and only running ones are in the index by worker.
    return () if worker_id is None else (JOBS.c.worker_id == worker_id, JOBS.c.state == literal_column("'running'"))


def _within(column: Column[Any], after: datetime | None, before: datetime | None) -> Iterable[ColumnElement[bool]]:
    if after is not None:
        yield column > after
    if before is not None:
        yield column < before


def _fetch(connection: Connection[TupleRow], query: Select[Any]) -> list[DictRow]:
    compiled = query.compile(dialect=_DIALECT)
    return _rows(connection, compiled.string.encode(), compiled.params)


def _rows(connection: Connection[TupleRow], sql: bytes, parameters: Mapping[str, Any]) -> list[DictRow]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(sql, parameters).fetchall()


def _job_place(row: DictRow) -> Place:
    return Place(row["created_at"], row["job_id"])


def _dead_letter_place(row: DictRow) -> Place:
    return Place(row["failed_at"], row["job_id"])


def _attempt_place(row: DictRow) -> Place:
    return Place(row["started_at"], row["job_id"], row["lease_version"])


def _folded(connection: Connection[TupleRow], rows: Sequence[DictRow], with_payload: bool) -> Iterator[JobState]:
    """Yield the jobs of these rows in their order; one whose partition has gone meanwhile is left out."""
    wanted = orjson.dumps([{"job_id": row["job_id"], "version": row["version"]} for row in rows]).decode()
    parameters = {"wanted": wanted, "with_payload": with_payload}
    histories = grouped(connection.execute(_HISTORIES, parameters, binary=True).fetchall())
    for row in rows:
        job = fold(histories.get(row["job_id"], ()))
        if job is not None:
            yield job


def _requests(connection: Connection[TupleRow], rows: Sequence[DictRow]) -> dict[UUID, tuple[bytes, dict[str, str]]]:
    """Return (payload, metadata) of these rows' jobs."""
    wanted = orjson.dumps([row["job_id"] for row in rows]).decode()
    found = connection.execute(_REQUESTS, {"job_ids": wanted}).fetchall()
    return {job_id: (payload.encode(), orjson.loads(metadata)) for job_id, payload, metadata in found}


def _dead_letters(connection: Connection[TupleRow], rows: Sequence[DictRow]) -> Iterator[DeadLetter]:
    requests = _requests(connection, rows)
    for row in rows:
        payload, metadata = requests.get(row["job_id"], (b"{}", {}))
        yield DeadLetter(
            id=f"{row['job_id']}:{row['version']}",
            job_type=row.pop("type"),
            priority=Priority(row.pop("priority")),
            payload=payload,
            metadata=metadata,
            **row,
        )


def _executions(connection: Connection[TupleRow], rows: Sequence[DictRow]) -> Iterator[JobExecution]:
    requests = _requests(connection, rows)
    for row in rows:
        payload, _ = requests.get(row["job_id"], (b"{}", {}))
        yield JobExecution(
            id=f"{row['job_id']}:{row['lease_version']}",
            job_type=row.pop("type"),
            priority=Priority(row.pop("priority")),
            payload=payload,
            **row,
        )


def _queue_info(row: DictRow) -> QueueInfo:
    return QueueInfo(**_queue_members(row))


def _queue_members(row: DictRow) -> dict[str, Any]:
    counts = {name: int(row[name]) for name in ("scheduled", "ready", "running", "retrying", "dead")}
    age = row["oldest_ready_age_seconds"]
    return {
        "name": row["name"],
        "depth": counts["ready"],
        "oldest_ready_age_seconds": None if age is None else max(age, 0.0),
        **counts,
    }


def _queue_stats(now: DictRow, flow: DictRow, buckets: Sequence[DictRow], window: timedelta) -> QueueStats:
    depths = {Priority(int(level)).word: int(count) for level, count in (now["depths"] or {}).items()}
    wait_max, run_max = flow.pop("wait_max_ms"), flow.pop("run_max_ms")
    seconds = window.total_seconds()
    return QueueStats(
        queue=now["name"],
        depth_by_priority=DepthByPriority(**depths),
        window_seconds=seconds,
        throughput_per_second=flow["succeeded"] / seconds,
        wait_seconds=percentiles(_measured(buckets, "wait"), wait_max),
        run_seconds=percentiles(_measured(buckets, "run"), run_max),
        **flow,
        **_queue_members(now),
    )


def _measured(buckets: Sequence[DictRow], measure: str) -> list[tuple[int, int]]:
    return [(row["bucket"], row["count"]) for row in buckets if row["measure"] == measure]


def _projection(row: DictRow) -> Projection:
    live, building, still = row.pop("live"), row.pop("building"), row.pop("still_seconds")
    limit = STOPPED_AFTER.total_seconds()
    served = live and (row["lag_seconds"] < limit or still < limit)
    return Projection(status="building" if building else "live" if served else "stopped", **row)
