"""The dead-letter queue over HTTP: the jobs that are dead now, and the two ways out, retry and discard.

A dead letter answers to the job's id and to `<job id>:<version>`, which names one death: after another one, the old
name finds a conflict and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger_projections.filters import DeadLetterFilter
from ledger_projections.views import resource

from ledger import commands, ids
from ledger.errors import CommandRefused, JobNotFound
from ledger.events import Kind
from ledger.job import State
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
    from uuid import UUID

    import falcon
    from ledger_projections.queries import Queries

    from ledger import Ledger
    from ledger.job import JobState
    from ledger_api.pages import Lag

_VERSION = re.compile(r"[1-9]\d{0,8}", re.ASCII)


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
        job_id, version = _named(id_)
        self._lag.tell(resp, "dead_letters")
        found = self._queries.get_dead_letter(str(job_id) if version is None else f"{job_id}:{version}")
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
            death.check(job, "discard")
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
            death.check(job, "retry")
            return commands.retry(job, now, verb.delay, verb.reason)

        job = change(
            self._ledger,
            death.job_id,
            verb.versions,
            lambda version: self._ledger.command(death.job_id, retry, actor=actor(req), if_version=version),
        )
        send_job(resp, job)


@dataclass(frozen=True, slots=True)
class _Death:
    """What the id of a dead letter names: a job, and where it says so, one of its deaths."""

    job_id: UUID
    version: int | None
    is_last: bool

    def check(self, job: JobState, verb: str) -> None:
        """Refuse unless this is the death the job is dead of, or was discarded after."""
        if self.version is None:
            return
        if not self.is_last or (job.state is State.DEAD and job.version != self.version):
            allowed = "this id names an earlier death of the job; take the present one from the dead-letter queue"
            raise CommandRefused(job.id, verb, job.state, job.version, allowed)


def _named(id_: str) -> tuple[UUID, int | None]:
    """Return the job and, where the id names one, the version of its death."""
    text, colon, version = id_.partition(":")
    job_id = ids.parse(text)
    if job_id is None or (colon and not _VERSION.fullmatch(version)):
        raise _not_found()
    return job_id, int(version) if colon else None


def _death(ledger: Ledger, id_: str) -> _Death:
    """Return what the id names; a job that has never been dead, or a version that was no death, is not found."""
    job_id, version = _named(id_)
    try:
        deaths = [entry.version for entry in ledger.history(job_id) if entry.kind is Kind.DEAD_LETTERED]
    except JobNotFound:
        raise _not_found() from None
    if not deaths or (version is not None and version not in deaths):
        raise _not_found()
    return _Death(job_id, version, is_last=version in (None, deaths[-1]))


def _not_found() -> Problem:
    return not_found("job not found in DLQ")
