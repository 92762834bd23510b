"""The read door: lists, counts, dead letters, statistics and lag, read from the read models in `ledger_read`.

Nothing is ever counted by scanning jobs: counts are kept by `queue_stats`. A list gets its order, filters and versions
from a read model, and its jobs from the log, folded up to exactly those versions; so a list can be late, never wrong.
Filtered lists are composed with SQLAlchemy Core; everything else is a statement in `sql/queries`.
"""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import orjson
from psycopg.rows import dict_row

from ledger.events import Priority
from ledger.job import fold
from ledger.postgres import grouped
from ledger.runtime.statements import statement
from ledger_projections.builtin import PROJECTIONS
from ledger_projections.deaths import named
from ledger_projections.filters import DeadLetterFilter, ExecutionFilter, JobFilter
from ledger_projections.paging import Page, Place, check_limit, cut, decode_cursor
from ledger_projections.percentiles import percentiles
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
    from collections.abc import Iterator, Mapping, Sequence

    from psycopg import Connection
    from psycopg.rows import DictRow, TupleRow
    from sqlalchemy import Select

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


class Lag(msgspec.Struct, frozen=True):
    """How far a read model is behind the log: `seconds` is the age of the oldest event it has not read."""

    seconds: float
    events: int


class Match(msgspec.Struct, frozen=True):
    """A job that a filter names, at the version at which the read model saw it match."""

    job_id: UUID
    version: int
    place: Place
    """In the list's order; where the next ones are looked for."""


Narrowing = JobFilter | DeadLetterFilter


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
        query = _selects().ordered_jobs(filters, after, check_limit(limit) + 1)
        with reading(self._database) as connection:
            rows, next_cursor = cut(_fetch(connection, query), limit, _job_place, filters)
            return Page(tuple(_folded(connection, rows, with_payload)), next_cursor)

    def matching(self, filters: Narrowing, limit: int, after: Place | None = None) -> list[Match]:
        """Return up to `limit` jobs or dead letters that match, in the list's order: for bulk actions."""
        query = _ordered(filters, after, limit)
        with reading(self._database) as connection:
            rows = _fetch(connection, query)
        place = _job_place if isinstance(filters, JobFilter) else _dead_letter_place
        return [Match(row["job_id"], row["version"], place(row)) for row in rows]

    def count(self, filters: Narrowing, after: Place | None = None) -> int:
        """Count what matches by looking at it all: for who is about to change it, never for a page."""
        with reading(self._database) as connection:
            (row,) = _fetch(connection, _selects().counted(_ordered(filters, after)))
        return row["count"]

    def list_dead_letters(
        self, filters: DeadLetterFilter, *, limit: int = 100, cursor: str | None = None, offset: int = 0
    ) -> Page[DeadLetter]:
        """Return a page of the jobs that are dead now, the latest death first."""
        after = decode_cursor(cursor, filters)
        query = _selects().ordered_dead_letters(filters, after).limit(check_limit(limit) + 1).offset(offset)
        with reading(self._database) as connection:
            rows, next_cursor = cut(_fetch(connection, query), limit, _dead_letter_place, filters)
            return Page(tuple(_dead_letters(connection, rows)), next_cursor)

    def get_dead_letter(self, id_: str) -> DeadLetter | None:
        """Return the dead letter named by a job id or by `<job id>:<version>`; None unless the job is dead of that."""
        death = named(id_)
        if death is None:
            return None
        found = self.list_dead_letters(DeadLetterFilter(ids=(death.job_id,)), limit=1).items
        return found[0] if found and death.version in (None, found[0].version) else None

    def list_executions(
        self, filters: ExecutionFilter, *, limit: int = 100, cursor: str | None = None, offset: int = 0
    ) -> Page[JobExecution]:
        """Return a page of attempts, the latest started first."""
        after = decode_cursor(cursor, filters)
        query = _selects().ordered_attempts(filters, after).limit(check_limit(limit) + 1).offset(offset)
        with reading(self._database) as connection:
            rows, next_cursor = cut(_fetch(connection, query), limit, _attempt_place, filters)
            return Page(tuple(_executions(connection, rows)), next_cursor)

    def queue_infos(self) -> list[QueueInfo]:
        """Return every queue that a job, a pause or a live worker has named, by name."""
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


def _fetch(connection: Connection[TupleRow], query: Select[Any]) -> list[DictRow]:
    return _rows(connection, *_selects().compiled(query))


def _rows(connection: Connection[TupleRow], sql: bytes, parameters: Mapping[str, Any]) -> list[DictRow]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(sql, parameters).fetchall()


def _ordered(filters: Narrowing, after: Place | None, limit: int | None = None) -> Select[Any]:
    if isinstance(filters, JobFilter):
        return _selects().ordered_jobs(filters, after, limit)
    return _selects().ordered_dead_letters(filters, after).limit(limit)


def _selects() -> Any:
    """Return the module `selects`: SQLAlchemy is 13 MB, and who lists nothing has no need of it."""
    return import_module("ledger_projections.selects")


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


def _requests(connection: Connection[TupleRow], rows: Sequence[DictRow]) -> dict[UUID, DictRow]:
    """Return what these rows' jobs were asked to do; a job whose partition has gone meanwhile is left out."""
    wanted = orjson.dumps([row["job_id"] for row in rows]).decode()
    return {row["job_id"]: row for row in _rows(connection, _REQUESTS, {"job_ids": wanted})}


def _dead_letters(connection: Connection[TupleRow], rows: Sequence[DictRow]) -> Iterator[DeadLetter]:
    requests = _requests(connection, rows)
    for row in rows:
        request = requests.get(row["job_id"], {"payload": "{}", "metadata": "{}"})
        yield DeadLetter(
            id=f"{row['job_id']}:{row['version']}",
            job_type=row.pop("type"),
            priority=Priority(row.pop("priority")),
            payload=request["payload"].encode(),
            metadata=orjson.loads(request["metadata"]),
            **row,
        )


def _executions(connection: Connection[TupleRow], rows: Sequence[DictRow]) -> Iterator[JobExecution]:
    requests = _requests(connection, rows)
    for row in rows:
        request = requests.get(row["job_id"])
        if request is None:
            continue
        yield JobExecution(
            id=f"{row['job_id']}:{row['lease_version']}",
            job_type=request["type"],
            priority=Priority(row.pop("priority")),
            max_retries=request["max_retries"],
            payload=request["payload"].encode(),
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
        "paused": row["paused_at"] is not None,
        "paused_at": row["paused_at"],
        "paused_by": row["paused_by"],
        "pause_reason": row["pause_reason"],
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
