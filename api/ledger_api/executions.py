"""Runs over HTTP: every attempt of every job, with its worker, its times and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger_projections.filters import ExecutionFilter
from ledger_projections.views import resource
from ledger_projections.words import RUN_STATES, meanings

from ledger import ids
from ledger.errors import JobNotFound
from ledger_api import schemas
from ledger_api.openapi import headers, queries
from ledger_api.openapi.operation import Answer, Parameter, operation
from ledger_api.pages import send_page
from ledger_api.parameters import Parameters

if TYPE_CHECKING:
    import falcon
    from ledger_projections.queries import Queries

    from ledger import Ledger
    from ledger_api.pages import Lag

STATES = meanings(RUN_STATES)
"""What `state` may say: our words, and the two of job-queue."""


class Executions:
    """`/executions`: the latest started first."""

    def __init__(self, queries: Queries, lag: Lag) -> None:
        self._queries, self._lag = queries, lag

    @operation(
        "listExecutions",
        "List runs of jobs, the latest started first.",
        tag="executions",
        parameters=(
            queries.TYPE,
            Parameter("state", queries.some_of(STATES), "Only those that ended like this, or are running."),
            queries.QUEUE,
            queries.WORKER,
            queries.time("started_after", "Only started after this moment."),
            queries.time("started_before", "Only started before this moment."),
            queries.OFFSET,
            *queries.PAGE,
        ),
        answers={200: Answer(list[schemas.JobExecution], "A page of runs.", (headers.LAG, *headers.PAGE))},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        query = Parameters(req)
        limit, cursor, offset = query.limit(), query.cursor(), query.offset()
        filters = ExecutionFilter(
            types=query.many("type"),
            states=query.words("state", STATES),
            queues=query.many("queue"),
            worker_id=query.text("worker_id"),
            started_after=query.time("started_after"),
            started_before=query.time("started_before"),
        )
        query.end()
        self._lag.tell(resp, "attempts")
        page = self._queries.list_executions(filters, limit=limit, cursor=cursor, offset=offset)
        send_page(req, resp, map(resource, page.items), page.next_cursor)


class JobExecutions:
    """`/executions/{job_id}`: none for a job that never ran, not found for one that never was."""

    def __init__(self, ledger: Ledger, queries: Queries, lag: Lag) -> None:
        self._ledger, self._queries, self._lag = ledger, queries, lag

    @operation(
        "listJobExecutions",
        "List the runs of a job, the latest first.",
        tag="executions",
        parameters=queries.PAGE,
        answers={200: Answer(list[schemas.JobExecution], "A page of runs.", (headers.LAG, *headers.PAGE))},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        query = Parameters(req)
        limit, cursor = query.limit(), query.cursor()
        query.end()
        wanted = ids.parse(job_id)
        if wanted is None:
            raise JobNotFound(job_id)
        self._ledger.history(wanted)
        self._lag.tell(resp, "attempts")
        page = self._queries.list_executions(ExecutionFilter(job_id=wanted), limit=limit, cursor=cursor)
        send_page(req, resp, map(resource, page.items), page.next_cursor)
