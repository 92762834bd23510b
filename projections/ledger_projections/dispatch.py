"""The projection whose read model is Redis: every ready job has a message on the dispatch stream of its queue.

A turn reads the log by cursor like every projection, adds a message for each job that became ready and has not moved
on since, and then moves the cursor: a crash in between only sends messages twice, and a message proves nothing.

Who has made a job ready may have added its message already, and tells so (`ledger.wake`); such a one is passed over.

The cursor is also kept in memory, so a turn without work is one question. With work, the dispatcher that moved the
cursor last adds the messages first and takes the turn afterwards; taking it shows whether that memory is still true.
When it is not, another dispatcher has taken over, and the messages of this one turn were sent twice.

A batch with an event in it that cannot be read is halved until that event is alone, and then passed over.

Redis may lose what it was given. `DispatchStreams` notices when it was emptied or replaced, and the reconciler looks
every few seconds whether the jobs that have been ready longest are still there.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import structlog
from psycopg import DataError, Error
from psycopg.errors import ReadOnlySqlTransaction, SerializationFailure

from ledger.message import Message
from ledger.runtime import failpoints
from ledger.runtime.database import reachable
from ledger.runtime.service import long_turn
from ledger.runtime.statements import statement
from ledger_projections import cursors, dispatch_repair, rewind
from ledger_projections.projection import multirange
from ledger_projections.redis_streams import DispatchStreams, Ready, ready
from ledger_projections.told import Told

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from ledger.cursor import Cursor, Range
    from ledger.runtime.database import Database
    from ledger_projections.projection import AnyConnection

log = structlog.get_logger()

BATCH_SIZE = 1000
"""Events a turn: a few milliseconds of work, so the first message never waits long for the last."""
QUIET_BATCH = 4
"""How many times as many after a turn with nothing to dispatch, as while workers drain what is in Redis, or clients
bring their messages themselves: a turn costs as much as reading a thousand events, and nobody waits for it."""
CHECK_INTERVAL = 1.0
"""Seconds after which an idle dispatcher looks whether Redis is still what it was."""
RECONCILE_INTERVAL = 5.0
"""Seconds between two looks for messages that are gone, at least."""
RECONCILE_SHARE = 0.02
"""Of the time, at most, that such looks take: while a snapshot is held open, jobs that were ready once stay in the
index of ready jobs, and every look goes through all of them."""

_LITTLE = 50
"""Events that a glance takes in."""

_START = statement("ledger_projections", "dispatch/start")
_GLANCE = statement("ledger_projections", "dispatch/glance")
_READ = statement("ledger_projections", "dispatch/read")
_BEGIN = statement("ledger_projections", "dispatch/begin")


@dataclass(frozen=True, slots=True)
class _Found:
    """What one read of the log brought."""

    late: tuple[int, ...]
    high: int
    gaps: tuple[Range, ...]
    xmin: int
    newest: str | None
    ready: list[Ready]
    full: bool

    def advance(self, cursor: Cursor, xid: int = 0) -> Cursor:
        return cursor.advance(self.late, self.high, self.gaps, self.xmin, xid)


class Dispatcher:
    """Moves ready jobs from the log to Redis. Any number may run; one is active at a time."""

    name = "dispatch"

    def __init__(
        self, database: Database, redis_url: str, *, batch_size: int = BATCH_SIZE, end: cursors.End | None = None
    ) -> None:
        self._database = database
        self._batch_size = batch_size
        self._limit = batch_size
        """Events the next turn reads at most; 0 passes over the next one, which cannot be read."""
        self._streams = DispatchStreams(redis_url)
        self.told = Told(redis_url)
        self._kept: AnyConnection | None = None
        self._cursor: Cursor | None = None
        self._marks: cursors.Marks = {}
        self._tail = cursors.Tail(end)
        self._expected = False
        self._was_full = False
        self._is_active = False
        self._check_at = 0.0
        self._reconcile_at = 0.0
        self.dispatched = 0
        self.healed = 0
        """Messages added again by the reconciler."""
        self.refills = 0
        self.rewinds = 0
        """Times the log was found to have been taken back."""
        self._look_back = True

    def prepare(self) -> None:
        """Make the cursor; refuse a Redis that may throw messages away. One that is down is waited for later."""
        with self._database.connection() as connection:
            connection.execute(_START)
        self._streams.refuse_eviction()
        self.told.hear()

    def run_once(self) -> bool:
        try:
            with reachable(self._database.url):
                return self._turn(self._connection())
        except (SerializationFailure, cursors.Overtaken):
            self._cursor = None
            return True
        except DataError:
            self._cursor = None
            if not self._limit:
                raise
            self._limit //= 2
            return True
        except BaseException as error:
            self._cursor = None
            if self._kept is not None and isinstance(error.__cause__, ReadOnlySqlTransaction):
                self._kept.close()  # this server is a standby by now
            raise

    def expect(self) -> None:
        """Let the next turn read without asking first: somebody has appended something. From any thread."""
        self._expected = True

    def look_at_once(self) -> None:
        """Let the next turn look after Redis, however recently that was done."""
        self._check_at = self._reconcile_at = 0.0

    def close(self) -> None:
        self._streams.close()
        self.told.close()
        if self._kept is not None:
            self._kept.close()

    def _connection(self) -> AnyConnection:
        if self._kept is None or self._kept.closed:
            self._kept = self._database.dedicated()
            self._cursor = None
            self._look_back = True
        return self._kept

    def _turn(self, connection: AnyConnection) -> bool:
        if self._look_back:
            self.rewinds += rewind.notice(connection, self._streams)
            self._look_back = False
        if not self._streams_intact():
            return self._refill(connection)
        if self._cursor is None and not self._take_cursor(connection):
            return False
        assert self._cursor is not None
        expected, self._expected = self._expected, False
        there_is_more = expected or not self._tail.is_read(connection, self._cursor)
        busy = there_is_more and self._dispatch(connection, self._cursor)
        if not busy and time.monotonic() >= self._reconcile_at:
            self._reconcile(connection)
        return busy or not self._streams.intact

    def _dispatch(self, connection: AnyConnection, cursor: Cursor) -> bool:
        """Read a batch, add its messages and move the cursor; return whether there may be more to add."""
        with _turn(connection):
            found = self._glance(connection, cursor) or _read(connection, cursor, self._limit)
            if found.advance(cursor) == cursor:
                self._tail.nothing_seen(connection, cursor, found.xmin)
                return False
            self._streams.remember(found.newest)
            jobs = self.told.others(found.ready)
            if was_active := self._is_active:
                self._add(jobs, more=found.full)
            turn = cursors.take(connection, self.name, "live", self._marks)
            self._is_active = turn is not None and turn.cursor == cursor
            if turn is None or not self._is_active:
                self._cursor = None
                return False
            if not was_active:
                self._add(jobs, more=found.full)
            if not self._streams.intact:
                return True  # the next turn asks what has become of Redis, and this batch comes again
            moved = found.advance(cursor, cursors.current_xid(connection) if found.gaps else 0)
            self._marks = cursors.move(connection, turn, moved)
        if not self._limit:
            log.error("an event cannot be read and is not dispatched", position=found.high, late=found.late)
        self._limit = min(self._limit * 2 or 1, self._batch_size * (1 if jobs else QUIET_BATCH))
        self._cursor = moved
        self._tail.has_reached(moved.high)
        self.dispatched += len(found.ready)
        self._was_full = found.full
        # To hurry after those who are telling us would only add what they are adding.
        return found.full or (bool(jobs) and not self.told.lately)

    def _glance(self, connection: AnyConnection, cursor: Cursor) -> _Found | None:
        """Read what there is if that is little and new, as it is while jobs come one by one; else return None."""
        if self._was_full or cursor.hole_count or self._limit <= _LITTLE:
            return None
        return _glance(connection, cursor)

    def _add(self, jobs: Sequence[Ready], *, more: bool) -> None:
        if jobs:
            if more:  # which no other message of these queues is to overtake
                self._streams.hold({job.queue for job in jobs})
            self._streams.add(jobs)
            self._check_at = time.monotonic() + CHECK_INTERVAL
            failpoints.hit("dispatch_after_xadd")

    def _take_cursor(self, connection: AnyConnection) -> bool:
        with connection.transaction():
            turn = cursors.take(connection, self.name, "live")
            if turn is None:
                return False
            if turn.reanchored:
                cursors.move(connection, turn, turn.cursor)
        self._cursor, self._is_active = turn.cursor, False
        return True

    def _streams_intact(self) -> bool:
        if self._streams.intact and time.monotonic() < self._check_at:
            return True
        self._check_at = time.monotonic() + CHECK_INTERVAL
        return self._streams.check()

    def _refill(self, connection: AnyConnection) -> bool:
        self._cursor = None
        self.told.forget()
        with long_turn():
            added = dispatch_repair.refill(connection, self._streams)
        if added is None:
            return False
        self.refills += 1
        self._reconcile_at = time.monotonic() + RECONCILE_INTERVAL
        log.info("dispatch streams filled", added=added)
        return True

    def _reconcile(self, connection: AnyConnection) -> None:
        """Look for the oldest ready jobs in Redis; add the few that are gone, or refill when they are many."""
        began = time.monotonic()
        self._reconcile_at = began + RECONCILE_INTERVAL
        self._streams.identify()
        wanted = dispatch_repair.sample(connection)
        took = time.monotonic() - began
        self._reconcile_at = began + max(RECONCILE_INTERVAL, took / RECONCILE_SHARE)
        self._streams.ensure(sorted({job.stream for job in wanted}))
        absent = self._streams.absent(wanted)
        if dispatch_repair.is_great_loss(wanted, absent):
            self._refill(connection)
        elif absent:
            self._streams.add(absent)
            self.healed += len(absent)
            log.warning("messages were gone from Redis", healed=len(absent))


def request_refill(redis_url: str) -> None:
    """Let the dispatcher that runs, or the next one, compare every ready job with Redis and add what is absent."""
    streams = DispatchStreams(redis_url)
    streams.forget()
    streams.close()


@contextmanager
def _turn(connection: AnyConnection) -> Generator[None]:
    """A transaction that is begun, and told how to plan, in one round trip."""
    connection.execute(_BEGIN)
    try:
        yield
    except BaseException:
        with suppress(Error):  # what has gone wrong before is what is told
            connection.rollback()
        raise
    connection.commit()


def _glance(connection: AnyConnection, cursor: Cursor) -> _Found | None:
    """Return None where this does not tell all: there is more, a job is ready again, or an event cannot be read."""
    rows: Sequence[tuple[Any, ...]] = connection.execute(
        _GLANCE, {"high": cursor.high, "limit": _LITTLE}, binary=True
    ).fetchall()
    xmin = rows[0][0]
    if rows[0][1] is None:
        return _Found((), cursor.high, (), xmin, None, [], full=False)
    enqueued = [row for row in rows if row[4] == "enqueued"]
    if len(rows) == _LITTLE or any(row[3] > 1 or row[7] is None for row in enqueued):
        return None
    positions = [cursor.high, *(row[1] for row in rows)]
    return _Found(
        late=(),
        high=positions[-1],
        gaps=tuple((before + 1, after) for before, after in pairwise(positions) if after > before + 1),
        xmin=xmin,
        newest=next((row[8] for row in reversed(rows) if row[8] is not None), None),
        ready=_still_ready(rows, enqueued),
        full=False,
    )


def _still_ready(rows: Sequence[tuple[Any, ...]], enqueued: Sequence[tuple[Any, ...]]) -> list[Ready]:
    """Return the new jobs; what has moved on meanwhile, which needs no message, has its later events here, too."""
    moved_on = {row[2] for row in rows if row[3] > 1}
    return [
        ready(queue, priority, Message(job_id, 1, 1, type_))
        for _, _, job_id, _, _, queue, priority, type_, _ in enqueued
        if job_id not in moved_on
    ]


def _read(connection: AnyConnection, cursor: Cursor, limit: int) -> _Found:
    blind, limit = not limit, limit or 1
    parameters = {"high": cursor.high, "holes": multirange(cursor.holes), "limit": limit, "blind": blind}
    rows: Sequence[tuple[Any, ...]] = connection.execute(_READ, parameters, binary=True).fetchall()
    xmin, count, high, gaps, late, newest, *_ = rows[0]
    return _Found(
        late=tuple(late or ()),
        high=high,
        gaps=cursors.ranges(gaps),
        xmin=xmin,
        newest=newest,
        ready=[_ready(row) for row in rows if row[-1] is not None],
        full=count == limit,
    )


def _ready(row: tuple[Any, ...]) -> Ready:
    queue, priority, job_id, version, attempt, type_ = row[6:]
    return ready(queue, priority, Message(job_id, version, attempt, type_))
