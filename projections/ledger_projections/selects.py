"""Filtered lists as SQL: each filter becomes a select in its list's total order, from a place on.

Composed with SQLAlchemy Core, for the members of a filter may be given in any combination.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import structs
from sqlalchemy import ARRAY, Text, and_, any_, cast, func, literal, literal_column, or_, select, tuple_, union_all
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from ledger_projections.read_tables import ATTEMPTS, BIRTHS, DEAD_LETTERS, JOBS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.sql import ColumnCollection

    from ledger_projections.filters import DeadLetterFilter, ExecutionFilter, JobFilter
    from ledger_projections.paging import Place

    Columns = ColumnCollection[str, Any]

_DIALECT = PGDialect_psycopg()


def compiled(query: Select[Any]) -> tuple[bytes, Mapping[str, Any]]:
    """Return the statement and its parameters, as psycopg takes them."""
    statement = query.compile(dialect=_DIALECT)
    return statement.string.encode(), statement.params


def counted(query: Select[Any]) -> Select[Any]:
    """Return the select of the number of rows, as `count`."""
    return select(func.count().label("count")).select_from(query.order_by(None).subquery())


def ordered_jobs(filters: JobFilter, after: Place | None, limit: int | None = None) -> Select[Any]:
    # Of the few that are named, run by a worker, or have not succeeded, the index is on the jobs; of all others, it is
    # on what never changes of them.
    few = bool(filters.ids or filters.worker_id or (filters.states and "succeeded" not in filters.states))
    if few and len(filters.states) > 1 and not filters.ids:
        return _of_each_state(filters, after, limit)
    table = JOBS.c if few else BIRTHS.c
    query: Select[Any] = select(JOBS) if few else select(JOBS).join(BIRTHS, BIRTHS.c.job_id == JOBS.c.job_id)
    query = query.where(
        *_among(JOBS.c.job_id, filters.ids),
        *_among(JOBS.c.state, filters.states),
        *_among(table.type, filters.types),
        *_among(table.queue, filters.queues),
        *_among(table.priority, filters.priorities),
        *_run_by(filters.worker_id),
        *(_equal(table.correlation_id, filters.correlation_id) if few else _correlated(filters.correlation_id)),
        *_equal(table.schedule_id, filters.schedule_id),
        *_within(table.created_at, filters.created_after, filters.created_before),
    )
    order = tuple_(table.created_at, table.job_id)
    if after is not None:
        place = tuple_(literal(after.at, table.created_at.type), literal(after.id, table.job_id.type))
        query = query.where(order > place if filters.oldest_first else order < place)
    return query.order_by(*_by_creation(table, filters)).limit(limit)


def _of_each_state(filters: JobFilter, after: Place | None, limit: int | None) -> Select[Any]:
    """Return the same page as one of each state's pages: each is in order in its index; all would be sorted."""
    pages = (ordered_jobs(structs.replace(filters, states=(state,)), after, limit) for state in filters.states)
    all_ = union_all(*pages).subquery()
    return select(all_).order_by(*_by_creation(all_.c, filters)).limit(limit)


def ordered_dead_letters(filters: DeadLetterFilter, after: Place | None) -> Select[Any]:
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


def ordered_attempts(filters: ExecutionFilter, after: Place | None) -> Select[Any]:
    table = ATTEMPTS.c
    query: Select[Any] = select(ATTEMPTS)
    if filters.types or filters.queues:
        # Of a type or queue with few jobs, these are found first; of one with many, the runs, each with its job.
        query = query.join(BIRTHS, BIRTHS.c.job_id == table.job_id)
    query = query.where(
        *_equal(table.job_id, filters.job_id),
        *_among(BIRTHS.c.type, filters.types),
        *_among(BIRTHS.c.queue, filters.queues),
        *_among(table.state, filters.states),
        *_equal(table.worker_id, filters.worker_id),
        *_within(table.started_at, filters.started_after, filters.started_before),
    )
    order = (table.started_at, table.job_id, table.lease_version)
    if after is not None:
        place = zip((after.at, after.id, after.version), order, strict=True)
        query = query.where(tuple_(*order) < tuple_(*(literal(value, column.type) for value, column in place)))
    return query.order_by(*(column.desc() for column in order))


def _by_creation(table: Columns, filters: JobFilter) -> Iterable[ColumnElement[Any]]:
    order = (table.created_at, table.job_id)
    return order if filters.oldest_first else (column.desc() for column in order)


def _among(column: ColumnElement[Any], values: Sequence[Any]) -> Iterable[ColumnElement[bool]]:
    # One value as an equality: only then does an index on (column, order) give the list's order too.
    if len(values) == 1:
        return (column == values[0],)
    return (column == any_(literal(list(values), ARRAY(column.type))),) if values else ()


def _equal(column: ColumnElement[Any], value: object) -> Iterable[ColumnElement[bool]]:
    return () if value is None else (column == value,)


def _correlated(value: str | None) -> Iterable[ColumnElement[bool]]:
    if value is None:
        return ()
    # A job that nobody correlated carries its own id, and is in no index for that; it is found by its key.
    births = BIRTHS.c
    others = and_(births.correlation_id == value, births.correlation_id != cast(births.job_id, Text))
    try:
        itself = and_(births.job_id == UUID(value), births.correlation_id == value)
    except ValueError:
        return (others,)
    return (or_(others, itself),)


def _run_by(worker_id: str | None) -> Iterable[ColumnElement[bool]]:
    # Only a running job has a worker, and only running ones are in the index by worker.
    return () if worker_id is None else (JOBS.c.worker_id == worker_id, JOBS.c.state == literal_column("'running'"))


def _within(
    column: ColumnElement[Any], after: datetime | None, before: datetime | None
) -> Iterable[ColumnElement[bool]]:
    if after is not None:
        yield column > after
    if before is not None:
        yield column < before
