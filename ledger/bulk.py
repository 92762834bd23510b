"""Many jobs at a time: each for itself, or all or none.

Jobs with neither an id nor an idempotency key of the caller's cannot be refused by the log, and are streamed into it.
Those with an id go in by the thousand, each refused or taken by itself; those with a key are taken together with their
keys in one transaction. Where that cannot be had (a key is in use, an id is taken) they are made one by one, so that
one job's trouble is not the others'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from ledger.connections import joined
from ledger.copying import copy_on
from ledger.errors import JobExists, LedgerError, Unavailable
from ledger.log import Blocked, Conflict, Recorded
from ledger.opening import KEY_WAIT, Made, claim_keys, opened, taken
from ledger.postgres import LOCK_TIMEOUT, append_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta

    from ledger.log import Append, Outcome
    from ledger.requests import Submission
    from ledger.runtime.database import Database
    from ledger.runtime.statements import Executes

    Wish = tuple[Submission, Append]
    Answer = Made | LedgerError

CHUNK = 2000
"""Jobs a statement."""


def make_each(
    database: Database, wanted: Sequence[Submission], appends: Sequence[Append], ttl: timedelta
) -> list[Answer]:
    """Make each job by itself, and answer in the same order with what was made or why not."""
    answers: dict[int, Answer] = {}
    fresh: list[int] = []
    named: list[int] = []
    keyed: list[int] = []
    ids: set[object] = set()
    for index, submission in enumerate(wanted):
        if submission.is_fresh:
            fresh.append(index)
        elif submission.job_id is not None and submission.job_id in ids:
            answers[index] = JobExists(submission.job_id)
        else:
            (keyed if submission.request.idempotency_key else named).append(index)
            ids.add(submission.job_id)
    if fresh:
        with database.connection() as connection, connection.transaction():
            copy_on(connection, [appends[index] for index in fresh])
        answers |= {index: Made(appends[index].job_id) for index in fresh}
    for chunk in _chunks(named):
        with database.connection() as connection:
            outcomes = append_on(connection, [appends[index] for index in chunk], LOCK_TIMEOUT)
        answers |= {index: _answer(appends[index], outcome) for index, outcome in zip(chunk, outcomes, strict=True)}
    # In the order of keys: two requests that share some never wait for each other.
    for chunk in _chunks(sorted(keyed, key=lambda index: wanted[index].request.idempotency_key or "")):
        wishes = [(wanted[index], appends[index]) for index in chunk]
        answers |= zip(chunk, _make_keyed(database, wishes, ttl), strict=True)
    return [answers[index] for index in range(len(wanted))]


def make_all(
    connection: Executes, wanted: Sequence[Submission], appends: Sequence[Append], ttl: timedelta
) -> list[Made]:
    """Make all jobs in this transaction; raise for the first that cannot be made."""
    made: dict[int, Made] = {}
    keyed = [index for index, each in enumerate(wanted) if each.request.idempotency_key is not None]
    for chunk in _chunks(sorted(keyed, key=lambda index: (wanted[index].request.idempotency_key, index))):
        earlier = claim_keys(
            connection, [wanted[index] for index in chunk], [appends[index].job_id for index in chunk], ttl
        )
        made |= {index: Made(job, replayed=True) for index, job in zip(chunk, earlier, strict=True) if job is not None}
    if isinstance(connection, psycopg.Connection) and len(wanted) > 1:
        fresh = [index for index, each in enumerate(wanted) if each.is_fresh]
        copy_on(connection, [appends[index] for index in fresh])
        made |= {index: Made(appends[index].job_id) for index in fresh}
    left = [index for index in range(len(wanted)) if index not in made]
    _refuse_twins([appends[index] for index in left])
    for chunk in _chunks(left):
        recorded = taken(append_on(connection, [appends[index] for index in chunk]))
        made |= {index: _made(appends[index], each) for index, each in zip(chunk, recorded, strict=True)}
    return [made[index] for index in range(len(wanted))]


def _make_keyed(database: Database, wishes: Sequence[Wish], ttl: timedelta) -> list[Answer]:
    try:
        with joined(database, None, KEY_WAIT) as connection:
            return list(make_all(connection, [wish[0] for wish in wishes], [wish[1] for wish in wishes], ttl))
    except Unavailable:
        raise
    except LedgerError as error:
        if len(wishes) == 1:
            return [error]
    return [answer for wish in wishes for answer in _make_keyed(database, [wish], ttl)]


def _answer(append: Append, outcome: Outcome) -> Answer:
    match outcome:
        case Recorded():
            return _made(append, outcome)
        case Conflict():
            return JobExists(append.job_id)
        case Blocked():
            return Unavailable(f"another transaction is making job {append.job_id}; try again later")


def _made(append: Append, recorded: Recorded) -> Made:
    return Made(append.job_id, opened(append, recorded))


def _refuse_twins(appends: Sequence[Append]) -> None:
    seen: set[object] = set()
    for append in appends:
        if append.job_id in seen:
            raise JobExists(append.job_id)
        seen.add(append.job_id)


def _chunks(indexes: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(indexes), CHUNK):
        yield indexes[start : start + CHUNK]
