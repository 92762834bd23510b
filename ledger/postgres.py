"""The log in Postgres.

The primary key (job_id, version) is the only concurrency control: an append goes in right after the event its writer
saw or not at all. A batch travels as one JSON parameter, and each call is one statement and one round trip; appends
that several threads want at once share one (`ledger.appender`).

Jobs are told apart by their ids as numbers: a UUID is hashed and compared in Python, and each job is looked up often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import orjson
import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable
from psycopg.pq import TransactionStatus

from ledger.appender import Appender
from ledger.codec import decode, encode
from ledger.errors import CorruptHistory
from ledger.events import KINDS, NO_TRACE, Entry, Event, Kind, Leased, Priority, Trace
from ledger.log import Append, Blocked, Conflict, Lease, Outcome, Recorded
from ledger.runtime.clock import DatabaseClock
from ledger.runtime.prepared import Prepared
from ledger.runtime.statements import statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from ledger.runtime.database import Database
    from ledger.runtime.statements import Executes

    AnyConnection = Executes

_T = TypeVar("_T")

LOCK_TIMEOUT = "50ms"
"""Long enough for any commit under way, short enough that one caller's open transaction delays a batch but little."""

_LOCK_TIMEOUT = LOCK_TIMEOUT.encode()
_APPEND = statement("ledger", "append_events")
_APPEND_HERE = Prepared("append_events", _APPEND, "rows", "lock_timeout", "first", "last")
_COLUMNS = ("job_id", "kind", "queue", "priority", "actor", "data", "body", "meta")
_APPEND_ONE = Prepared(
    "append_event", statement("ledger", "append_event"), *_COLUMNS, "version", "after_kind", "nonce", "lock_timeout"
)
_LEASE = Prepared("lease_job", statement("ledger", "lease_job"), "job_id", "nonce", "worker_id", "lock_timeout")
_LEASE_MANY = Prepared(
    "lease_jobs", statement("ledger", "lease_jobs"), "leases", "worker_id", "lock_timeout", "first", "last"
)
_OPEN = Prepared("open_job", statement("ledger", "open_job"), *_COLUMNS)
_OPEN_MANY = Prepared("open_jobs", statement("ledger", "open_jobs"), "rows")
_HISTORIES = statement("ledger", "select_histories")
_NOW = statement("ledger", "select_now")

_TRACE = msgspec.json.Decoder(Trace)
_PRIORITIES = tuple(Priority)


class PostgresLog:
    """Keeps the contract of `ledger.log.Log` in the database of `database`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._appender = Appender(self._write)
        self.clock = DatabaseClock(self._ask_time)

    def append(self, appends: Sequence[Append]) -> list[Outcome]:
        return self._appender.append(appends)

    def _write(self, appends: Sequence[Append]) -> list[Outcome]:
        if all(append.is_new for append in appends):
            return [self._open(appends[0])] if len(appends) == 1 else self._open_many(appends)
        with self._database.connection() as connection:
            return append_on(connection, appends, LOCK_TIMEOUT)

    def _open(self, append: Append) -> Recorded:
        columns = _columns(append)
        with self._database.connection() as connection:
            [(position, at)] = _OPEN.rows(connection, *columns)
        return _opened(append, position, at)

    def _open_many(self, appends: Sequence[Append]) -> list[Outcome]:
        wanted = _spelled(appends)
        with self._database.connection() as connection:
            places = _OPEN_MANY.rows(connection, wanted)
        return [_opened(append, *place) for append, place in zip(appends, places, strict=True)]

    def lease(self, leases: Sequence[Lease], worker_id: str) -> list[tuple[Entry, ...]]:
        with self._database.connection() as connection:
            return _lease_on(connection, leases, worker_id)

    def history(self, job_id: UUID) -> tuple[Entry, ...]:
        return self.histories([job_id]).get(job_id, ())

    def histories(self, job_ids: Iterable[UUID]) -> dict[UUID, tuple[Entry, ...]]:
        with self._database.connection() as connection:
            return histories_on(connection, job_ids)

    def _ask_time(self) -> datetime:
        with self._database.connection() as connection:
            row = connection.execute(_NOW).fetchone()
            assert row is not None
            return row[0]


def _opened(append: Append, position: int, at: datetime) -> Recorded:
    return Recorded(append.job_id, 1, position, at)


def append_on(connection: AnyConnection, appends: Sequence[Append], lock_timeout: str | None = None) -> list[Outcome]:
    """Append on this connection, inside whatever transaction it is in.

    With a `lock_timeout` (never in a caller's own transaction, which a time-out would abort) a batch that meets a place
    held by somebody's open transaction is split until only the held ones are left; those are answered Blocked.
    """
    if not appends:
        return []
    if len({append.job_id.int for append in appends}) < len(appends):
        return _append_in_rounds(connection, appends, lock_timeout)
    try:
        taken = _taken(connection, appends, lock_timeout)
    except (LockNotAvailable, DeadlockDetected):
        if lock_timeout is None:
            raise
        if len(appends) == 1:
            return [Blocked(appends[0].job_id, appends[0].after_version + 1)]
        return [o for half in _halves(appends) for o in append_on(connection, half, lock_timeout)]
    recorded = {job_id.int: (position, at) for job_id, position, at in taken}  # of several events the last
    return [_outcome(append, recorded.get(append.job_id.int)) for append in appends]


def _taken(connection: AnyConnection, appends: Sequence[Append], lock_timeout: str | None) -> Iterable[tuple[Any, ...]]:
    """Return job, position and time of each event that went in."""
    at_rest = connection if isinstance(connection, psycopg.Connection) and _is_at_rest(connection) else None
    limit = None if lock_timeout is None else lock_timeout.encode()
    if at_rest and len(appends) == len(appends[0].events) == 1 and appends[0].after_kind:
        return _append_one(at_rest, appends[0], appends[0].after_kind, limit)
    wanted = _spelled(appends)
    first, last = _ends([append.job_id.int for append in appends])
    if at_rest:
        return _APPEND_HERE.rows(at_rest, wanted, limit, first, last)
    parameters = {"rows": wanted.decode(), "lock_timeout": lock_timeout, "first": first.decode(), "last": last.decode()}
    return connection.execute(_APPEND, parameters, binary=True).fetchall()


def _append_one(
    connection: psycopg.Connection[Any], append: Append, after: Kind, limit: bytes | None
) -> Iterable[tuple[Any, ...]]:
    version, nonce = b"%d" % (append.after_version + 1), None if append.nonce is None else append.nonce.encode()
    return _APPEND_ONE.rows(connection, *_columns(append), version, after.encode(), nonce, limit)


def _is_at_rest(connection: psycopg.Connection[Any]) -> bool:
    return connection.autocommit and connection.pgconn.transaction_status == TransactionStatus.IDLE


def _append_in_rounds(connection: AnyConnection, appends: Sequence[Append], lock_timeout: str | None) -> list[Outcome]:
    """Append each job's first share, and then the rest: a statement could not tell one job's shares apart."""
    rounds: tuple[list[int], list[int]] = [], []
    seen: set[UUID] = set()
    for n, append in enumerate(appends):
        rounds[append.job_id in seen].append(n)
        seen.add(append.job_id)
    outcomes: dict[int, Outcome] = {}
    for turn in rounds:
        outcomes |= zip(turn, append_on(connection, [appends[n] for n in turn], lock_timeout), strict=True)
    return [outcomes[n] for n in range(len(appends))]


def histories_on(connection: AnyConnection, job_ids: Iterable[UUID]) -> dict[UUID, tuple[Entry, ...]]:
    """Read histories on this connection, so that its own uncommitted events are among them."""
    wanted = orjson.dumps(list(job_ids)).decode()
    return grouped(connection.execute(_HISTORIES, {"job_ids": wanted}, binary=True).fetchall())


def _lease_on(connection: psycopg.Connection[Any], leases: Sequence[Lease], worker_id: str) -> list[tuple[Entry, ...]]:
    if not leases:
        return []
    try:
        rows = _leased(connection, leases, worker_id.encode())
    except (LockNotAvailable, DeadlockDetected):
        if len(leases) == 1:
            return []
        return [history for half in _halves(leases) for history in _lease_on(connection, half, worker_id)]
    return _with_leases(rows, leases, worker_id)


def _leased(connection: psycopg.Connection[Any], leases: Sequence[Lease], worker_id: bytes) -> list[tuple[Any, ...]]:
    """Return the events of the jobs that were won, with their leases beside them."""
    first = leases[0]
    if len(leases) == 1 and first.version == 1:
        return _LEASE.rows(connection, first.job_id.hex.encode(), first.nonce.encode(), worker_id, _LOCK_TIMEOUT)
    wishes = orjson.dumps([{"job_id": w.job_id, "version": w.version, "nonce": w.nonce} for w in leases])
    ends = _ends([wish.job_id.int for wish in leases])
    return _LEASE_MANY.rows(connection, wishes, worker_id, _LOCK_TIMEOUT, *ends)


def _with_leases(rows: Iterable[tuple[Any, ...]], leases: Iterable[Lease], worker_id: str) -> list[tuple[Entry, ...]]:
    """Return the histories that `lease_jobs` gave, each with the lease that it tells of in place."""
    nonces = {(wish.job_id.int, wish.version): wish.nonce for wish in leases}
    actor = f"worker:{worker_id}"
    histories: list[tuple[Entry, ...]] = []
    for history, (position, at) in _by_job(rows):
        last = history[-1]
        job_id = last.job_id
        attempt = 1 + [type(entry.event) for entry in history].count(Leased)
        event = Leased(worker_id, attempt, nonces[job_id.int, last.version], last.at)
        entry = Entry(position, at, job_id, last.version + 1, last.queue, last.priority, actor, event)
        histories.append((*history, entry))
    return histories


def _ends(job_ids: Sequence[int]) -> tuple[bytes, bytes]:
    """Return the lowest and the highest of these ids, between which the log is looked into."""
    return b"%032x" % min(job_ids), b"%032x" % max(job_ids)


def _halves(batch: Sequence[_T]) -> tuple[Sequence[_T], Sequence[_T]]:
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]


def _outcome(append: Append, recorded: tuple[int, datetime] | None) -> Outcome:
    if recorded is None:
        return Conflict(append.job_id, append.after_version + 1)
    return Recorded(append.job_id, append.after_version + len(append.events), *recorded)


def _columns(append: Append) -> Sequence[bytes | None]:
    """Return the columns of an append's only event, as `_COLUMNS` names them."""
    (event,) = append.events
    data, body = encode(event)
    return (
        append.job_id.hex.encode(),
        KINDS[type(event)].encode(),
        append.queue.encode(),
        b"%d" % append.priority,
        append.actor.encode(),
        orjson.dumps(data),
        body,
        None if append.trace is NO_TRACE else msgspec.json.encode(append.trace),
    )


def _spelled(appends: Sequence[Append]) -> bytes:
    """Return the events as one JSON array."""
    return orjson.dumps([row for append in appends for row in _rows(append)])


def _rows(append: Append) -> Iterable[dict[str, Any]]:
    meta = None if append.trace is NO_TRACE else orjson.Fragment(msgspec.json.encode(append.trace))
    for index, event in enumerate(append.events):
        data, body = encode(event)
        yield {
            "follows": index > 0,
            "job_id": append.job_id,
            "version": append.after_version + 1 + index,
            "kind": KINDS[type(event)],
            "queue": append.queue,
            "priority": append.priority,
            "actor": append.actor,
            "data": data,
            "body": None if body is None else orjson.Fragment(body),
            "meta": meta,
            "after_kind": append.after_kind,
            "nonce": append.nonce,
        }


def grouped(rows: Iterable[tuple[Any, ...]]) -> dict[UUID, tuple[Entry, ...]]:
    """Decode rows with the columns and the order of `select_histories`."""
    return {history[0].job_id: tuple(history) for history, _ in _by_job(rows)}


def _by_job(rows: Iterable[tuple[Any, ...]]) -> Iterable[tuple[list[Entry], tuple[Any, ...]]]:
    """Return each job's events, and what its rows hold beyond them."""
    jobs: dict[int, tuple[list[Entry], tuple[Any, ...]]] = {}
    for row in rows:
        entry = _entry(*row[:12])
        known = jobs.get(entry.job_id.int)
        if known is None:
            jobs[entry.job_id.int] = [entry], row[12:]
        else:
            known[0].append(entry)
    return jobs.values()


def _entry(
    job_id: UUID,
    version: int,
    position: int,
    at: datetime,
    kind: str,
    queue: str,
    priority: int,
    actor: str,
    schema_version: int,
    data: str,
    body: str | None,
    meta: str | None,
) -> Entry:
    try:
        event: Event = decode(kind, version, schema_version, data, None if body is None else body.encode())
    except CorruptHistory as error:
        error.queue, error.priority = queue, priority
        raise
    trace = NO_TRACE if meta is None else _TRACE.decode(meta)
    return Entry(position, at, job_id, version, queue, _PRIORITIES[priority], actor, event, trace, schema_version)
