"""Dispatchers turned by hand, and what they have put into Redis."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import redis
from ledger_projections.dispatch import Dispatcher

from ledger import ids, keys
from ledger.events import Enqueued, Priority, Request
from ledger.log import Append
from ledger.message import parse
from ledger.runtime.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from ledger.log import Log
    from ledger.message import Message

TURNS = 1000


@contextmanager
def dispatching(database_url: str, redis_url: str, **options) -> Iterator[Dispatcher]:
    """A dispatcher that has made its cursor and its first refill."""
    database = Database(database_url)
    dispatcher = Dispatcher(database, redis_url, **options)
    try:
        dispatcher.prepare()
        drain(dispatcher)
        yield dispatcher
    finally:
        dispatcher.close()
        database.close()


def drain(dispatcher: Dispatcher) -> None:
    """Turn it until there is nothing left to do."""
    for _ in range(TURNS):
        if not dispatcher.run_once():
            return
    raise AssertionError(f"still busy after {TURNS} turns")


def hurry(dispatcher: Dispatcher) -> None:
    """Let the looks at Redis that are due in a while be due now, and drain."""
    dispatcher.look_at_once()
    drain(dispatcher)


def enqueue(log: Log, count: int = 1, queue: str = "mail", priority: Priority = Priority.MEDIUM) -> list[UUID]:
    made = [ids.mint() for _ in range(count)]
    events = (Enqueued(request=Request(type="email.send")),)
    log.append([Append(job_id=id_, events=events, queue=queue, priority=priority, actor="client:test") for id_ in made])
    return made


def messages(redis_url: str, queue: str = "mail", priority: Priority = Priority.MEDIUM) -> list[Message]:
    """Everything on a stream, in order."""
    with redis.Redis.from_url(redis_url) as client:
        parsed = [parse(fields) for _, fields in client.xrange(keys.stream(queue, priority))]
    assert None not in parsed
    return [message for message in parsed if message is not None]


def dispatched(redis_url: str, queue: str = "mail", priority: Priority = Priority.MEDIUM) -> list[UUID]:
    """The jobs on a stream, in order."""
    return [message.job_id for message in messages(redis_url, queue, priority)]
