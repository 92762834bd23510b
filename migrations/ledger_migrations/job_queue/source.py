"""The old system, only ever read: `job:*` and `delayed` in its Redis, two tables in its Postgres.

Keys are found by SCAN, which does not hold the server up, and may give a key twice; rows come through a cursor in a
transaction that cannot write.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg.rows import dict_row

from ledger.runtime import redis
from ledger.runtime.database import Database
from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from psycopg import Cursor

BATCH = 500
JOBS = b"job:*"
DELAYED = "delayed"

_READ_ONLY = statement("ledger_migrations", "job_queue/read_only")
_TABLE = statement("ledger_migrations", "job_queue/select_table")
_DEAD_LETTERS = statement("ledger_migrations", "job_queue/select_dead_letters")
_SCHEDULES = statement("ledger_migrations", "job_queue/select_schedules")

Row = dict[str, Any]


class StoredJob(NamedTuple):
    """A job as it lies in Redis: its key, its JSON, and the score it has among the delayed ones."""

    key: str
    text: bytes
    due: float | None


class Source:
    """The servers of the old system; either may be absent."""

    def __init__(self, redis_url: str | None, database_url: str | None) -> None:
        self._redis_url, self._database_url = redis_url, database_url

    def jobs(self) -> Iterator[list[StoredJob]]:
        if self._redis_url is None:
            return
        with redis.connect(self._redis_url, name="ledger-import") as client, redis.reachable(client):
            keys: list[bytes] = []
            for key in client.scan_iter(match=JOBS, count=BATCH):
                keys.append(key)
                if len(keys) == BATCH:
                    yield _stored(client, keys)
                    keys.clear()
            yield _stored(client, keys)

    def dead_letters(self) -> Iterator[list[Row]]:
        return self._rows("dead_letter_queue", _DEAD_LETTERS)

    def schedules(self) -> Iterator[list[Row]]:
        return self._rows("job_schedules", _SCHEDULES)

    def _rows(self, table: str, sql: bytes) -> Iterator[list[Row]]:
        if self._database_url is None:
            return
        with self._reading(self._database_url, table, sql) as cursor:
            while cursor is not None and (rows := cursor.fetchmany(BATCH)):
                yield rows

    @contextmanager
    def _reading(self, url: str, table: str, sql: bytes) -> Generator[Cursor[Row] | None]:
        """Lend a cursor over the rows; None where there is no such table."""
        database = Database(url, size=1, name="ledger-import")
        try:
            with database.connection() as connection, connection.transaction():
                connection.execute(_READ_ONLY)
                if connection.execute(_TABLE, {"name": table}).fetchone() != (True,):
                    yield None
                    return
                with connection.cursor(name="ledger_import", row_factory=dict_row) as cursor:
                    yield cursor.execute(sql)
        finally:
            database.close()


def _stored(client: redis.Redis, keys: list[bytes]) -> list[StoredJob]:
    names = [key.decode(errors="replace") for key in keys]
    pipeline = client.pipeline(transaction=False)
    for key, name in zip(keys, names, strict=True):
        pipeline.get(key)
        pipeline.zscore(DELAYED, name.removeprefix("job:"))
    answers = pipeline.execute(raise_on_error=False)
    texts, scores = answers[::2], answers[1::2]
    # A key may end meanwhile, and another application's `job:…` may hold something else than a string.
    return [
        StoredJob(name, text, score if isinstance(score, float) else None)
        for name, text, score in zip(names, texts, scores, strict=True)
        if isinstance(text, bytes)
    ]
