"""Why a job is not running: what stands in its way, the first thing first, each with what to do about it.

The job itself comes from the log; what stands around it is looked at once, in Postgres, and where nothing else is in a
ready job's way also in Redis. It only reads, and is for one job that somebody asks about: counting ends at `MOST`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from ledger import keys
from ledger.codec import rfc3339
from ledger.durations import in_words
from ledger.errors import Unavailable
from ledger.events import Cancelled, DeadLettered, Discarded, Enqueued
from ledger.job import JobState, State, fold
from ledger.runtime import redis
from ledger.runtime.statements import statement
from ledger_projections.reading import reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from ledger.events import Entry
    from ledger.runtime.database import Database

    Circumstances = Mapping[str, Any]

MOST = 100_000
"""How many jobs before it are counted."""

_FRESH = timedelta(seconds=2)
"""For so long nothing need stand in its way: things take their time."""

_CIRCUMSTANCES = statement("ledger_projections", "why/select_circumstances")
_LINE = statement("ledger_projections", "why/select_line")


class Reason(msgspec.Struct, frozen=True):
    """One thing that keeps a job from running."""

    code: str
    detail: str
    advice: str | None = None
    """What to do; None where there is nothing to do."""


class Why(msgspec.Struct, frozen=True):
    """The answer; there is always a reason."""

    job_id: UUID
    state: State
    reasons: list[Reason]


def why(database: Database, redis_url: str, history: Sequence[Entry], *, silent_after: timedelta) -> Why:
    """Say why the job with this history is not running. Raises Unavailable without Postgres, never without Redis."""
    job = fold(history)
    assert job is not None
    asked = {"queue": job.queue, "worker_id": job.worker_id, "silent_after": silent_after}
    with reading(database) as connection:
        around = _row(connection, _CIRCUMSTANCES, asked)
        reasons = list(_reasons(job, history[-1], around, connection, redis_url))
    return Why(job.id, job.state, reasons)


def _reasons(
    job: JobState, last: Entry, around: Circumstances, connection: Connection[TupleRow], redis_url: str
) -> Iterator[Reason]:
    ago = f"{in_words(around['now'] - last.at)} ago"
    match job.state:
        case State.SUCCEEDED:
            yield Reason("ended", f"it has run: succeeded {ago}, in attempt {job.attempt}")
        case State.CANCELLED | State.DISCARDED:
            yield Reason("ended", f"it was {job.state} {ago} by {last.actor}{_words_of(last)}")
        case State.DEAD:
            yield _dead(job, last, ago)
        case State.RUNNING:
            yield from _running(job, around)
        case State.SCHEDULED | State.RETRYING:
            yield from _waiting(job, last, around)
        case _:
            yield from _ready(job, last, around, connection, redis_url)


def _dead(job: JobState, last: Entry, ago: str) -> Reason:
    event = last.event
    reason = event.reason.replace("_", " ") if isinstance(event, DeadLettered) else "dead"
    error = f"; its last error was {job.last_error}" if job.last_error else ""
    advice = f"mend the cause, then `ledger dlq retry {job.id}`, or give it up with `ledger dlq discard {job.id}`"
    return Reason("dead", f"it died {ago}: {reason}, after {_counted(job.attempt, 'run')}{error}", advice)


def _running(job: JobState, around: Circumstances) -> Iterator[Reason]:
    since = in_words(around["now"] - (job.started_at or around["now"]))
    if around["holder_is_alive"]:
        yield Reason("running", f"it has been running for {since} on worker {job.worker_id}, attempt {job.attempt}")
        return
    beat = around["holder_beat_at"]
    silent = "is not on record any more" if beat is None else f"has been silent for {in_words(around['now'] - beat)}"
    yield Reason(
        "worker_silent",
        f"worker {job.worker_id}, which has had it for {since}, {silent}",
        "nothing to do: the scheduler releases it after SCHEDULER_STALE_JOB_TIMEOUT"
        if around["has_scheduler"]
        else "start `ledger scheduler`, which gives its jobs to others; none is connected",
    )


def _waiting(job: JobState, last: Entry, around: Circumstances) -> Iterator[Reason]:
    assert job.run_at is not None
    late = around["now"] - job.run_at
    if late < timedelta():
        yield Reason("due", _due(job, in_words(-late)), f"`ledger job run-now {job.id}` does it at once")
    elif not around["has_scheduler"]:
        detail = f"it was due {in_words(late)} ago, and no scheduler is connected to make it ready"
        yield Reason("no_scheduler", detail, "start `ledger scheduler`")
    elif around["jobs_high"] is None or around["jobs_high"] < last.position:
        detail = f"it was due {in_words(late)} ago; the read model jobs, by which the scheduler goes, is behind"
        yield _behind("read_model_behind", detail, around)
    else:
        detail = f"it was due {in_words(late)} ago, and the scheduler has not come to it yet"
        yield Reason("overdue", detail, None if late < _FRESH else "see the scheduler's log, and `ledger doctor`")


def _due(job: JobState, left: str) -> str:
    when = f"in {left}, at {rfc3339(job.run_at)}"  # pyright: ignore[reportArgumentType] — it waits for that time
    if job.state is State.SCHEDULED:
        return f"it is due {when}"
    after = f"after {job.failure.error_type}" if job.failure else "as an operator asked"
    return f"it is tried again {when}, {after}: retry {job.retry_count} of {job.max_retries}"


def _ready(
    job: JobState, last: Entry, around: Circumstances, connection: Connection[TupleRow], redis_url: str
) -> Iterator[Reason]:
    waited = around["now"] - (job.ready_at or job.updated_at)
    start_by = job.request.start_by
    if start_by is not None and start_by <= around["now"]:
        yield Reason("expired", f"it was to start by {rfc3339(start_by)}, and is cancelled now", _scheduler(around))
        return
    obstacles = [*_closed(job, around), *_not_handed_on(last, around, waited)]
    yield from obstacles
    if around["has_read_models"] and around["takers"]:
        line = list(_line(job, around, connection))
        strange = [] if obstacles or waited < _FRESH else list(_in_redis(job, last, around, redis_url))
        yield from strange
        yield from line
        obstacles += [*strange, *line]
    if not obstacles:
        advice = None if waited < _FRESH else "look again in a moment, then see `ledger doctor`"
        yield Reason("nothing", f"nothing stands in its way; it has been ready for {in_words(waited)}", advice)


def _closed(job: JobState, around: Circumstances) -> Iterator[Reason]:
    """Yield what keeps everything in this queue."""
    if around["paused_at"] is not None:
        said = f': "{around["pause_reason"]}"' if around["pause_reason"] else ""
        since = in_words(around["now"] - around["paused_at"])
        detail = f"queue {job.queue} has been paused for {since} by {around['paused_by']}{said}"
        yield Reason("paused", detail, f"`ledger queue resume {job.queue}`")
    if not around["takers"]:
        others = f"; other queues have {_counted(around['workers'], 'worker')}" if around["workers"] else ""
        advice = f"start `ledger worker APP --queues {job.queue}`; see `ledger worker list`"
        yield Reason("no_worker", f"no live worker takes queue {job.queue}{others}", advice)


def _not_handed_on(last: Entry, around: Circumstances, waited: timedelta) -> Iterator[Reason]:
    high = around["dispatch_high"]
    if (high is not None and high >= last.position) or waited < _FRESH:
        return
    behind = "there is none yet" if high is None else f"it is {_counted(last.position - high, 'event')} short of it"
    yield _behind("dispatch_behind", f"dispatch has not handed it on to the workers: {behind}", around)


def _line(job: JobState, around: Circumstances, connection: Connection[TupleRow]) -> Iterator[Reason]:
    """Yield who goes first."""
    place = {"queue": job.queue, "priority": int(job.priority), "ready_at": job.ready_at, "job_id": job.id}
    found = _row(connection, _LINE, place | {"before": around["before"], "most": MOST})
    slots = f"{around['busy']} of {_counted(around['slots'], 'slot')} busy"
    advice = f"give queue {job.queue} more workers or a higher WORKER_CONCURRENCY; see `ledger queue stats {job.queue}`"
    if found["ahead"]:
        many = f"{MOST:,} or more" if found["ahead"] == MOST else f"{found['ahead']:,}"
        detail = f"{many} job{'' if found['ahead'] == 1 else 's'} before it in queue {job.queue}, with {slots}"
        yield Reason("behind_others", detail, advice)
    elif around["busy"] >= around["slots"]:
        yield Reason("slots_busy", f"it is next in queue {job.queue}, with {slots}", advice)
    if found["elsewhere"]:
        detail = f"{_counted(found['elsewhere'], 'job')} in queues that its workers may take first: "
        advice = f"weigh the queues (WORKER_QUEUES=a:6,{job.queue}:3), or give {job.queue} workers of its own"
        yield Reason("other_queues_first", detail + ", ".join(around["before"]), advice)


def _in_redis(job: JobState, last: Entry, around: Circumstances, redis_url: str) -> Iterator[Reason]:
    """Yield what the dispatch stream says: a worker that holds its message and does not lease it cannot run it."""
    try:
        holder = _holder(job, redis_url)
    except Unavailable as error:
        detail = f"{error}; until it is back, workers look for ready jobs in the read model, more slowly"
        yield Reason("redis_unavailable", detail, "see that Redis runs; nothing is lost")
        return
    refused = isinstance(last.event, Enqueued) and last.event.reason == "unknown_type"
    if holder in around["ids"] or refused:
        who = f"worker {holder} has its message and" if holder in around["ids"] else "the worker that took it"
        yield Reason(
            "unknown_type",
            f"the workers of queue {job.queue} do not know type {job.type}: {who} cannot run it",
            f"start a worker whose application has @ledger.job({job.type!r}), or deploy it there; "
            "`ledger check APP` lists what an application knows",
        )


def _holder(job: JobState, redis_url: str) -> str | None:
    """Return the consumer to which the job's message was delivered last, if it was."""
    stream, name = keys.stream(job.queue, job.priority), (str(job.id).encode(), b"%d" % job.version)
    client = redis.connect(redis_url, name="ledger-why")
    try:
        with redis.reachable(client):
            if not client.exists(stream):
                return None
            pending: Any = client.xpending_range(stream, keys.GROUP, "-", "+", 1000)
            pipe = client.pipeline(transaction=False)
            for each in pending:
                pipe.xrange(stream, each["message_id"], each["message_id"])
            found = zip(pending, pipe.execute(), strict=True)
    finally:
        client.close()
    mine = (
        each["consumer"]
        for each, entries in found
        if entries and (entries[0][1].get(b"job"), entries[0][1].get(b"version")) == name
    )
    return next((consumer.decode() for consumer in mine), None)


def _behind(code: str, detail: str, around: Circumstances) -> Reason:
    if around["has_projector"]:
        return Reason(code, detail, "see `ledger projection list`, and the projector's log")
    return Reason(code, f"{detail}; no projector is connected", "start `ledger projector`")


def _scheduler(around: Circumstances) -> str | None:
    return None if around["has_scheduler"] else "start `ledger scheduler`, which does it; none is connected"


def _words_of(last: Entry) -> str:
    match last.event:
        case Cancelled(cause="expired"):
            return ": it was not started in time"
        case Cancelled(reason=str(reason)) | Discarded(reason=str(reason)):
            return f': "{reason}"'
        case _:
            return ""


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _row(connection: Connection[TupleRow], sql: bytes, parameters: Mapping[str, Any]) -> dict[str, Any]:
    with connection.cursor(row_factory=dict_row) as cursor:
        (row,) = cursor.execute(sql, parameters).fetchall()
    return row
