"""The dead-letter queue over HTTP: the jobs that are dead now, and the two ways out, retry and discard.

A dead letter answers to the job's id and to `<job id>:<version>`, which names one death: after another one, the old
name finds a conflict and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger_projections import deaths
from ledger_projections.filters import DeadLetterFilter
from ledger_projections.views import resource

from ledger import commands
from ledger.errors import JobNotFound
from ledger_api import bodies, schemas
from ledger_api.callers import actor
from ledger_api.conditional import change, known_versions, send_version
from ledger_api.jobs import send_job
from ledger_api.openapi import headers, queries
from ledger_api.openapi.operation import Answer, Body, Parameter, operation
from ledger_api.pages import send_page
from ledger_api.parameters import Parameters
from ledger_api.problems import Problem, not_found

if TYPE_CHECKING:
    from datetime import datetime

    import falcon
    from ledger_projections.deaths import Death
    from ledger_projections.queries import Queries

    from ledger import Ledger
    from ledger.job import JobState
    from ledger_api.pages import Lag


class DeadLetters:
    """`/dlq`."""

    def __init__(self, queries: Queries, lag: Lag) -> None:
        self._queries, self._lag = queries, lag

    @operation(
        "listDeadLetters",
        "List the jobs that are dead now, the latest death first.",
        tag="dead letters",
        parameters=(
            queries.TYPE,
            queries.QUEUE,
            queries.time("failed_after", "Only dead since after this moment."),
            queries.time("failed_before", "Only dead since before this moment."),
            Parameter("error_contains", queries.Text, "Only with this text in the error."),
            queries.OFFSET,
            *queries.PAGE,
        ),
        answers={200: Answer(list[schemas.DeadLetter], "A page of dead letters.", (headers.LAG, *headers.PAGE))},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        query = Parameters(req)
        limit, cursor, offset = query.limit(), query.cursor(), query.offset()
        filters = DeadLetterFilter(
            types=query.many("type"),
            queues=query.many("queue"),
            failed_after=query.time("failed_after"),
            failed_before=query.time("failed_before"),
            error_contains=query.text("error_contains"),
        )
        query.end()
        self._lag.tell(resp, "dead_letters")
        page = self._queries.list_dead_letters(filters, limit=limit, cursor=cursor, offset=offset)
        send_page(req, resp, map(resource, page.items), page.next_cursor)


class DeadLetter:
    """`/dlq/{id}`."""

    def __init__(self, ledger: Ledger, queries: Queries, lag: Lag) -> None:
        self._ledger, self._queries, self._lag = ledger, queries, lag

    @operation(
        "getDeadLetter",
        "Read a dead letter.",
        tag="dead letters",
        parameters=(headers.IF_NONE_MATCH,),
        answers={200: Answer(schemas.DeadLetter, "The dead letter.", (headers.ETAG, headers.LAG))},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, id_: str) -> None:
        Parameters(req).end()
        is_known = known_versions(req)
        self._lag.tell(resp, "dead_letters")
        found = self._queries.get_dead_letter(id_)
        if found is None:
            raise _not_found()
        send_version(resp, found.version, is_known, lambda: resource(found))

    @operation(
        "discardDeadLetter",
        "Give a dead job up for good; nothing is erased.",
        tag="dead letters",
        parameters=(queries.REASON, headers.IF_MATCH),
        problems=("state_conflict",),
        answers={200: Answer(schemas.DeletedJob, "The job, discarded.", (headers.ETAG,))},
    )
    def on_delete(self, req: falcon.Request, resp: falcon.Response, id_: str) -> None:
        verb = bodies.read_wordless_verb(req)
        death = _death(self._ledger, id_)

        def discard(job: JobState, _: datetime) -> commands.Events:
            deaths.check_last(death, job, "discard")
            return commands.discard(job, verb.reason)

        job = change(
            self._ledger,
            death.job_id,
            verb.versions,
            lambda version: self._ledger.command(death.job_id, discard, actor=actor(req), if_version=version),
        )
        send_job(resp, job, status="deleted")


class Retry:
    """`/dlq/{id}/retry`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @operation(
        "retryDeadLetter",
        "Give a dead job a new budget of retries.",
        tag="dead letters",
        parameters=(headers.IF_MATCH,),
        body=Body(bodies.ReasonAndDelay, is_optional=True),
        problems=("state_conflict",),
        answers={200: Answer(schemas.Job, "The job, ready or waiting for its time.", (headers.ETAG,))},
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, id_: str) -> None:
        verb = bodies.read_verb(req, delayable=True)
        death = _death(self._ledger, id_)

        def retry(job: JobState, now: datetime) -> commands.Events:
            deaths.check_last(death, job, "retry")
            return commands.retry(job, now, verb.delay, verb.reason)

        job = change(
            self._ledger,
            death.job_id,
            verb.versions,
            lambda version: self._ledger.command(death.job_id, retry, actor=actor(req), if_version=version),
        )
        send_job(resp, job)


def _death(ledger: Ledger, id_: str) -> Death:
    """Return what the id names; a job that has never been dead, or a version that was no death, is not found."""
    death = deaths.named(id_)
    try:
        if death is not None and deaths.happened(death, ledger.history(death.job_id)):
            return death
    except JobNotFound:
        pass
    raise _not_found()


def _not_found() -> Problem:
    return not_found("job not found in DLQ")
