"""Jobs over HTTP: made, listed, read as they are or were, and the verbs on one job."""

from __future__ import annotations

import re
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import falcon
from ledger_projections import words
from ledger_projections.filters import JobFilter
from ledger_projections.words import meanings
from msgspec import Meta

from ledger import strict_json
from ledger.errors import Breach, InvalidRequest, JobNotFound
from ledger.events import Priority
from ledger.job import fold
from ledger.requests import Enqueue
from ledger.resources import dumps, job_resource
from ledger_api import bodies, schemas
from ledger_api.callers import actor
from ledger_api.conditional import change, known_versions, send_version, set_version
from ledger_api.openapi import headers, queries
from ledger_api.openapi.operation import Answer, Body, Parameter, operation
from ledger_api.pages import send_page
from ledger_api.parameters import Parameters
from ledger_api.problems import invalid_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from ledger_projections.queries import Queries

    from ledger import Ledger
    from ledger.events import Entry
    from ledger.job import JobState
    from ledger.requests import Submission
    from ledger_api.conditional import Versions
    from ledger_api.pages import Lag

    Act = Callable[..., JobState]
    Check = Callable[[Mapping[str, Any], bytes], Submission]

STATES = meanings(words.STATES)
"""What `state` may say: our words, and those of job-queue."""
PRIORITIES = {level.word: level for level in Priority}
PAGE_WITH_PAYLOADS = 100

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_KEY = re.compile(r"[\x20-\x7e]{1,255}", re.ASCII)


EXAMPLES = {
    "least": {"type": "example.hello"},
    "usual": {
        "type": "email.send",
        "payload": {"to": "a@b.c", "subject": "hi"},
        "queue": "mail",
        "priority": "high",
        "max_retries": 5,
        "timeout": "30s",
        "delay": "15m",
        "retry": {"backoff": "exponential", "base": "10s", "max": "1h", "jitter": "equal"},
        "metadata": {"tenant": "7"},
    },
}
FILTERS = (
    Parameter("state", queries.some_of(STATES), "Only in these states; the words of job-queue mean ours."),
    queries.TYPE,
    queries.QUEUE,
    Parameter("priority", queries.some_of(PRIORITIES), "Only of these priorities."),
    queries.WORKER,
    Parameter("correlation_id", queries.Text, "Only with this correlation id."),
    Parameter("schedule_id", UUID, "Only of this schedule."),
    queries.time("created_after", "Only made after this moment."),
    queries.time("created_before", "Only made before this moment."),
    Parameter("order", queries.one_of(("desc", "asc")), "Newest or oldest first.", default="desc"),
    Parameter("include", queries.one_of(("payload",)), "Show payloads too."),
)


class Jobs:
    """`/jobs`."""

    def __init__(self, ledger: Ledger, queries_: Queries, lag: Lag) -> None:
        self._ledger, self._queries, self._lag = ledger, queries_, lag
        self._body_limit = ledger.settings.job_max_payload + bodies.SLACK

    @operation(
        "enqueueJob",
        "Make a job.",
        tag="jobs",
        description="It is durable when the answer is there. Redis is not needed.",
        parameters=(headers.IDEMPOTENCY_KEY, headers.TRACEPARENT),
        body=Body(Enqueue, examples=EXAMPLES),
        answers={
            201: Answer(schemas.Job, "The job.", (headers.LOCATION, headers.ETAG, headers.REPLAYED)),
        },
        problems=("job_exists",),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        body = bodies.read(req, self._body_limit)
        Parameters(req).end()
        key = idempotency_key(req)
        members = strict_json.decode(body)
        wanted = checked(self._ledger.checked, members, strict_json.payload_bytes(body), key)
        made = self._ledger.submit(wanted, actor=actor(req), traceparent=traceparent(req))
        if made.replayed:
            resp.set_header("Idempotency-Replayed", "true")
        send_made(resp, made.job or self._ledger.get(made.job_id))

    @operation(
        "listJobs",
        "List jobs, newest first.",
        tag="jobs",
        description="`payload` is null unless it is asked for; pages then hold at most 100 jobs.",
        parameters=(*FILTERS, *queries.PAGE),
        answers={200: Answer(list[schemas.Job], "A page of jobs.", (headers.LAG, *headers.PAGE))},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        query = Parameters(req)
        with_payload = query.word("include", ("payload",), "") == "payload"
        limit = query.limit(PAGE_WITH_PAYLOADS) if with_payload else query.limit()
        filters = _filter(query)
        cursor = query.cursor()
        query.end()
        self._lag.tell(resp, "jobs")
        page = self._queries.list_jobs(filters, limit=limit, cursor=cursor, with_payload=with_payload)
        send_page(req, resp, (job_resource(job, payload=with_payload) for job in page.items), page.next_cursor)


class Job:
    """`/jobs/{id}`: folded from the log, so it is current at once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @operation(
        "getJob",
        "Read a job, as it is or was.",
        tag="jobs",
        parameters=(
            Parameter("version", Annotated[int, Meta(ge=1, le=2**31 - 1)], "As it was at this version."),
            queries.time("as_of", "As it was at this moment. Not both."),
            headers.IF_NONE_MATCH,
        ),
        answers={200: Answer(schemas.Job, "The job.", (headers.ETAG,))},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        query = Parameters(req)
        version = query.integer("version", 1, 2**31 - 1, 0)
        as_of = query.time("as_of")
        if query.has("version") and query.has("as_of"):
            query.refuse("as_of", "cannot be combined with version")
        query.end()
        is_known = known_versions(req)
        job = _as_it_was(self._ledger.history(job_id), version, as_of)
        if job is None:
            raise JobNotFound(job_id)
        send_version(resp, job.version, is_known, lambda: job_resource(job))

    @operation(
        "deleteJob",
        "Cancel a job; nothing is erased.",
        tag="jobs",
        parameters=(queries.REASON, headers.IF_MATCH),
        answers={200: Answer(schemas.DeletedJob, "The job, cancelled.", (headers.ETAG,))},
        problems=("state_conflict",),
    )
    def on_delete(self, req: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        verb = bodies.read_wordless_verb(req)
        job = change(
            self._ledger,
            job_id,
            verb.versions,
            lambda version: self._ledger.cancel(job_id, verb.reason, actor=actor(req), if_version=version),
        )
        send_job(resp, job, status="deleted")


class _Verb:
    """`/jobs/{id}/<verb>`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def _change(
        self, req: falcon.Request, resp: falcon.Response, job_id: str, versions: Versions | None, act: Act
    ) -> None:
        how = {"job_id": job_id, "actor": actor(req)}
        job = change(self._ledger, job_id, versions, lambda version: act(if_version=version, **how))
        send_job(resp, job)


class Cancel(_Verb):
    """`/jobs/{id}/cancel`."""

    @operation(
        "cancelJob",
        "Cancel a job.",
        tag="jobs",
        description="Of a running job the lease is void at once, and its outcome will be refused.",
        parameters=(headers.IF_MATCH,),
        body=Body(bodies.Reason, is_optional=True),
        answers={200: Answer(schemas.Job, "The job, cancelled.", (headers.ETAG,))},
        problems=("state_conflict",),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        verb = bodies.read_verb(req)
        self._change(req, resp, job_id, verb.versions, partial(self._ledger.cancel, reason=verb.reason))


class Retry(_Verb):
    """`/jobs/{id}/retry`."""

    @operation(
        "retryJob",
        "Give a dead job a new budget of retries.",
        tag="jobs",
        parameters=(headers.IF_MATCH,),
        body=Body(bodies.ReasonAndDelay, is_optional=True),
        answers={200: Answer(schemas.Job, "The job, ready or waiting for its time.", (headers.ETAG,))},
        problems=("state_conflict",),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        verb = bodies.read_verb(req, delayable=True)
        act = partial(self._ledger.retry, reason=verb.reason, delay=verb.delay)
        self._change(req, resp, job_id, verb.versions, act)


class RunNow(_Verb):
    """`/jobs/{id}/run-now`."""

    @operation(
        "runJobNow",
        "Make a scheduled or retrying job ready before its time.",
        tag="jobs",
        parameters=(headers.IF_MATCH,),
        body=Body(bodies.Reason, is_optional=True),
        answers={200: Answer(schemas.Job, "The job, ready.", (headers.ETAG,))},
        problems=("state_conflict",),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        verb = bodies.read_verb(req)
        self._change(req, resp, job_id, verb.versions, partial(self._ledger.run_now, reason=verb.reason))


def send_job(resp: falcon.Response, job: JobState, **members: str) -> None:
    set_version(resp, job.version)
    resp.data = dumps(job_resource(job) | members)


def send_made(resp: falcon.Response, job: JobState) -> None:
    resp.status = falcon.HTTP_201
    resp.set_header("Location", f"/api/v1/jobs/{job.id}")
    send_job(resp, job)


def idempotency_key(req: falcon.Request) -> str | None:
    key = req.get_header("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise invalid_parameters([("Idempotency-Key", "must be 1 to 255 printable ASCII characters")])
    return key


def checked(check: Check, members: dict[str, Any], payload: bytes | None, key: str | None) -> Submission:
    """Check a request to enqueue: its members, its payload as it was sent, and the idempotency key of the header."""
    breaches: list[Breach] = []
    if key is not None and members.get("idempotency_key", key) != key:
        breaches.append(Breach("/idempotency_key", "is another one than the header Idempotency-Key"))
    try:
        wanted = check(members, b"{}" if payload is None else payload)
    except InvalidRequest as error:
        raise InvalidRequest([*breaches, *error.breaches]) from None
    if breaches:
        raise InvalidRequest(breaches)
    return wanted if key is None else wanted.under(key, members)


def traceparent(req: falcon.Request) -> str | None:
    """Return the W3C trace of the caller; a garbled one is as good as none."""
    header = req.get_header("traceparent")
    return header if header is not None and _TRACEPARENT.fullmatch(header) else None


def _filter(query: Parameters) -> JobFilter:
    if "failed" in query.many("state"):
        query.refuse("state", "no job rests in failed; use retrying or dead")
        states: tuple[str, ...] = ()
    else:
        states = query.words("state", STATES)
    return JobFilter(
        states=states,
        types=query.many("type"),
        queues=query.many("queue"),
        priorities=query.words("priority", PRIORITIES),
        worker_id=query.text("worker_id"),
        correlation_id=query.text("correlation_id"),
        schedule_id=query.uuid("schedule_id"),
        created_after=query.time("created_after"),
        created_before=query.time("created_before"),
        oldest_first=query.word("order", ("desc", "asc"), "desc") == "asc",
    )


def _as_it_was(history: tuple[Entry, ...], version: int, as_of: datetime | None) -> JobState | None:
    if version:
        return fold(history[:version]) if version <= len(history) else None
    if as_of is not None:
        return fold(takewhile(lambda entry: entry.at <= as_of, history))
    return fold(history)
