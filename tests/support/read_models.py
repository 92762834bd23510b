"""The log and the read models as they are in a database, in the shape of `tests.support.reference`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import orjson
from ledger_projections.cursors import ranges
from psycopg.rows import dict_row

from ledger.codec import encode
from ledger.cursor import Cursor, Holes
from ledger.events import NO_TRACE, Entry, Kind
from ledger.postgres import histories_on
from tests.support.reference import KEYS, Tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psycopg


def write(connection: psycopg.Connection, entries: Iterable[Entry]) -> None:
    """Put events into the log as they are but for the position, which the log gives; in this order."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            insert into ledger.events (at, job_id, version, kind, queue, priority, actor, data, body, meta)
            values (%s, %s, %s, %s, %s, %s, %s, %s::json, %s::json, %s::json)
            """,
            [_row(entry) for entry in entries],
        )


def read_log(connection: psycopg.Connection, after: int = 0) -> list[Entry]:
    """Return the histories of all jobs that have an event after this position."""
    ids = connection.execute("select distinct job_id from ledger.events where position > %s", [after]).fetchall()
    return [entry for history in histories_on(connection, [job_id for (job_id,) in ids]).values() for entry in history]


def read_tables(connection: psycopg.Connection, tables: Sequence[str], schema: str = "ledger_read") -> Tables:
    """Return every row of these tables, by key."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return {
            table: sorted(
                cursor.execute(f"select * from {schema}.{table}").fetchall(),
                key=lambda row: tuple(row[column] for column in KEYS[table]),
            )
            for table in tables
        }


def read_cursor(connection: psycopg.Connection, projection: str, generation: str = "live") -> Cursor:
    row = connection.execute(
        """
        select high, old_holes, old_horizon, young_holes, young_horizon
        from ledger.cursors where projection = %s and generation = %s
        """,
        [projection, generation],
    ).fetchone()
    assert row is not None
    high, old, old_horizon, young, young_horizon = row
    return Cursor(high, Holes(ranges(old), old_horizon), Holes(ranges(young), young_horizon))


def covers(cursor: Cursor, entry: Entry) -> bool:
    """Say whether a reader at this cursor has read the event."""
    return entry.position <= cursor.high and entry.position not in cursor.old and entry.position not in cursor.young


def last_position(connection: psycopg.Connection) -> int:
    row = connection.execute("select coalesce(max(position), 0) from ledger.events").fetchone()
    assert row is not None
    return row[0]


def _row(entry: Entry) -> tuple:
    data, body = encode(entry.event)
    return (
        entry.at,
        entry.job_id,
        entry.version,
        Kind(entry.kind).value,
        entry.queue,
        int(entry.priority),
        entry.actor,
        orjson.dumps(data).decode(),
        None if body is None else body.decode(),
        None if entry.trace is NO_TRACE else msgspec.json.encode(entry.trace).decode(),
    )
