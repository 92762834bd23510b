"""Queues over HTTP: how many jobs wait in each, for how long, and what went through."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from ledger_projections.views import resource
from msgspec import Meta

from ledger import fields, pauses
from ledger.resources import dumps
from ledger.settings import QUEUE_NAME
from ledger_api import bodies, schemas
from ledger_api.callers import actor
from ledger_api.openapi import headers
from ledger_api.openapi.operation import Answer, Body, Parameter, operation
from ledger_api.parameters import Parameters
from ledger_api.problems import not_found

if TYPE_CHECKING:
    from collections.abc import Callable

    import falcon
    from ledger_projections.queries import Queries

    from ledger import Ledger
    from ledger_api.pages import Lag

READ = ("queue_stats", "jobs")
"""The counts, and the age of the oldest ready job."""
SHORTEST_WINDOW = timedelta(minutes=1)
LONGEST_WINDOW = timedelta(hours=168)
DEFAULT_WINDOW = timedelta(hours=1)
WINDOW = Parameter(
    "window",
    Annotated[fields.Delay, Meta(description="1m to 168h.", examples=["1h", "PT24H"])],
    "How far to look back.",
    default="1h",
)


class Queues:
    """`/queues`: every queue that a job, a pause or a live worker has named."""

    def __init__(self, queries: Queries, lag: Lag) -> None:
        self._queries, self._lag = queries, lag

    @operation(
        "listQueues",
        "List the queues that a job, a pause or a live worker has named.",
        tag="queues",
        answers={200: Answer(list[schemas.QueueInfo], "The queues, by name.", (headers.LAG,))},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        Parameters(req).end()
        self._lag.tell(resp, *READ)
        resp.data = dumps([resource(queue) for queue in self._queries.queue_infos()])


class Depth:
    """`/queues/{name}/depth`: of a queue that nobody has used yet it is 0."""

    def __init__(self, queries: Queries, lag: Lag) -> None:
        self._queries, self._lag = queries, lag

    @operation(
        "getQueueDepth",
        "Count the ready jobs of a queue.",
        tag="queues",
        answers={200: Answer(schemas.QueueDepth, "The count; 0 for a queue that nobody has used.", (headers.LAG,))},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        Parameters(req).end()
        check_name(name)
        self._lag.tell(resp, *READ)
        resp.data = dumps({"queue": name, "depth": self._queries.queue_info(name).depth})


class Stats:
    """`/queues/{name}/stats`."""

    def __init__(self, queries: Queries, lag: Lag) -> None:
        self._queries, self._lag = queries, lag

    @operation(
        "getQueueStats",
        "Measure what went through a queue.",
        tag="queues",
        parameters=(WINDOW,),
        answers={200: Answer(schemas.QueueStats, "The queue, and its window.", (headers.LAG,))},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        query = Parameters(req)
        window = query.duration("window", SHORTEST_WINDOW, LONGEST_WINDOW, DEFAULT_WINDOW)
        query.end()
        check_name(name)
        self._lag.tell(resp, *READ)
        resp.data = dumps(resource(self._queries.queue_stats(name, window)))


class _Switch:
    """`/queues/{name}/pause` and `/resume`."""

    def __init__(self, ledger: Ledger, queries: Queries, lag: Lag) -> None:
        self._ledger, self._queries, self._lag = ledger, queries, lag

    def _turn(self, req: falcon.Request, resp: falcon.Response, name: str, turn: Callable[..., object]) -> None:
        reason = bodies.read_reason(req)
        check_name(name)
        turn(self._ledger.database, name, actor=actor(req), reason=reason)
        self._lag.tell(resp, *READ)
        resp.data = dumps(resource(self._queries.queue_info(name)))


class Pause(_Switch):
    """`/queues/{name}/pause`: nothing new is leased; the first one who paused it is remembered."""

    @operation(
        "pauseQueue",
        "Lease nothing new from a queue.",
        tag="queues",
        description="What runs goes on, and jobs are still taken. Twice is as good as once.",
        body=Body(bodies.Reason, is_optional=True),
        answers={200: Answer(schemas.QueueInfo, "The queue, paused.", (headers.LAG,))},
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        self._turn(req, resp, name, pauses.pause)


class Resume(_Switch):
    """`/queues/{name}/resume`."""

    @operation(
        "resumeQueue",
        "Lease from a queue again.",
        tag="queues",
        body=Body(bodies.Reason, is_optional=True),
        answers={200: Answer(schemas.QueueInfo, "The queue.", (headers.LAG,))},
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        self._turn(req, resp, name, pauses.resume)


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a queue: it names nothing."""
    if not QUEUE_NAME.fullmatch(name):
        raise not_found("queue not found: this cannot be the name of a queue")
