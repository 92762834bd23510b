"""The system over HTTP: its counts, its workers, and how far each projection has read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger_projections.views import resource

from ledger.resources import dumps
from ledger_api import schemas
from ledger_api.openapi import headers
from ledger_api.openapi.operation import Answer, operation
from ledger_api.parameters import Parameters

if TYPE_CHECKING:
    import falcon
    from ledger_projections.queries import Queries

    from ledger_api.pages import Lag


class Stats:
    """`/stats`."""

    def __init__(self, queries: Queries, lag: Lag) -> None:
        self._queries, self._lag = queries, lag

    @operation(
        "getStats",
        "Count jobs, dead letters, and the runs of the last 24 hours.",
        tag="operations",
        answers={200: Answer(schemas.Stats, "The counts.", (headers.LAG,))},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        Parameters(req).end()
        self._lag.tell(resp, "queue_stats", "attempts")
        resp.data = dumps(resource(self._queries.stats()))


class Workers:
    """`/workers`: those that have shown themselves within a day."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    @operation(
        "listWorkers",
        "List the workers that have shown themselves within a day.",
        tag="operations",
        answers={200: Answer(list[schemas.Worker], "The workers.")},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        Parameters(req).end()
        resp.data = dumps([resource(worker) for worker in self._queries.list_workers()])


class Projections:
    """`/projections`."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    @operation(
        "listProjections",
        "Say how far each projection has read.",
        tag="operations",
        answers={200: Answer(list[schemas.Projection], "The projections.")},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        Parameters(req).end()
        resp.data = dumps([resource(projection) for projection in self._queries.list_projections()])
