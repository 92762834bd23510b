"""The system over HTTP: its counts, its workers, and how far each projection has read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger_projections.views import resource

from ledger.resources import dumps
from ledger_api.parameters import Parameters

if TYPE_CHECKING:
    import falcon
    from ledger_projections.queries import Queries

    from ledger_api.pages import Lag


class Stats:
    """`/stats`."""

    def __init__(self, queries: Queries, lag: Lag) -> None:
        self._queries, self._lag = queries, lag

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        Parameters(req).end()
        self._lag.tell(resp, "queue_stats")
        resp.data = dumps(resource(self._queries.stats()))


class Workers:
    """`/workers`: those that have shown themselves within a day."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        Parameters(req).end()
        resp.data = dumps([resource(worker) for worker in self._queries.list_workers()])


class Projections:
    """`/projections`."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        Parameters(req).end()
        resp.data = dumps([resource(projection) for projection in self._queries.list_projections()])
