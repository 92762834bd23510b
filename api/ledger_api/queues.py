"""Queues over HTTP: how many jobs wait in each, for how long, and what went through."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ledger_projections.views import resource

from ledger import pauses
from ledger.resources import dumps
from ledger.settings import QUEUE_NAME
from ledger_api import bodies
from ledger_api.callers import actor
from ledger_api.parameters import Parameters
from ledger_api.problems import not_found

if TYPE_CHECKING:
    import falcon
    from ledger_projections.queries import Queries

    from ledger import Ledger
    from ledger_api.pages import Lag

SHORTEST_WINDOW = timedelta(minutes=1)
LONGEST_WINDOW = timedelta(hours=168)
DEFAULT_WINDOW = timedelta(hours=1)


class Queues:
    """`/queues`: every queue that a job, a pause or a live worker has named."""

    def __init__(self, queries: Queries, lag: Lag) -> None:
        self._queries, self._lag = queries, lag

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        Parameters(req).end()
        self._lag.tell(resp, "queue_stats")
        resp.data = dumps([resource(queue) for queue in self._queries.queue_infos()])


class Depth:
    """`/queues/{name}/depth`: of a queue that nobody has used yet it is 0."""

    def __init__(self, queries: Queries, lag: Lag) -> None:
        self._queries, self._lag = queries, lag

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        Parameters(req).end()
        check_name(name)
        self._lag.tell(resp, "queue_stats")
        resp.data = dumps({"queue": name, "depth": self._queries.queue_info(name).depth})


class Stats:
    """`/queues/{name}/stats`."""

    def __init__(self, queries: Queries, lag: Lag) -> None:
        self._queries, self._lag = queries, lag

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        query = Parameters(req)
        window = query.duration("window", SHORTEST_WINDOW, LONGEST_WINDOW, DEFAULT_WINDOW)
        query.end()
        check_name(name)
        self._lag.tell(resp, "queue_stats")
        resp.data = dumps(resource(self._queries.queue_stats(name, window)))


class Pause:
    """`/queues/{name}/pause`: nothing new is leased; the first one who paused it is remembered."""

    change = staticmethod(pauses.pause)

    def __init__(self, ledger: Ledger, queries: Queries, lag: Lag) -> None:
        self._ledger, self._queries, self._lag = ledger, queries, lag

    def on_post(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        verb = bodies.read_verb(req)
        check_name(name)
        self.change(self._ledger.database, name, actor=actor(req), reason=verb.reason)
        self._lag.tell(resp, "queue_stats")
        resp.data = dumps(resource(self._queries.queue_info(name)))


class Resume(Pause):
    """`/queues/{name}/resume`."""

    change = staticmethod(pauses.resume)


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a queue: it names nothing."""
    if not QUEUE_NAME.fullmatch(name):
        raise not_found("queue not found: this cannot be the name of a queue")
