"""Many jobs changed by one request: cancelled, retried or discarded, chosen by a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import falcon
from ledger_projections.bulk_actions import perform
from ledger_projections.bulk_requests import ChangeDeadLetters, ChangeJobs, Verb, bulk_action
from ledger_projections.views import resource

from ledger import strict_json
from ledger.resources import dumps
from ledger_api import bodies, schemas
from ledger_api.bulk_enqueue import BODY_LIMIT
from ledger_api.callers import actor
from ledger_api.openapi import headers
from ledger_api.openapi.operation import Answer, Body, operation
from ledger_api.parameters import Parameters

if TYPE_CHECKING:
    from ledger_projections.bulk_actions import BulkResult
    from ledger_projections.queries import Queries

    from ledger import Ledger
    from ledger_api.pages import Lag


EXAMPLES = {"queue": {"filter": {"queue": "mail"}, "reason": "the provider is down", "dry_run": True}}
ANSWERS = {
    200: Answer(schemas.BulkResult, "All that matched was changed, or nothing in a dry run.", (headers.LAG,)),
    202: Answer(schemas.BulkResult, "Something remains: send the request again.", (headers.LAG,)),
    207: Answer(schemas.BulkResult, "Some were refused.", (headers.LAG,)),
}


class _BulkAction:
    """A verb on all jobs that a filter matches."""

    def __init__(self, ledger: Ledger, queries: Queries, lag: Lag) -> None:
        self._ledger, self._queries, self._lag = ledger, queries, lag

    def _perform(self, req: falcon.Request, resp: falcon.Response, verb: Verb) -> None:
        body = bodies.read(req, BODY_LIMIT, optional=True)
        Parameters(req).end()
        action = bulk_action(verb, strict_json.decode(body) if body else {})
        self._lag.tell(resp, "jobs" if verb is Verb.CANCEL else "dead_letters")
        result = perform(self._ledger, self._queries, action, actor=actor(req))
        resp.status = _status(result)
        resp.data = dumps(resource(result))


class Cancel(_BulkAction):
    """`/jobs/cancel`."""

    @operation(
        "cancelJobs",
        "Cancel every job that matches.",
        tag="jobs",
        body=Body(ChangeJobs, is_optional=True, examples=EXAMPLES),
        answers=ANSWERS,
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        self._perform(req, resp, Verb.CANCEL)


class Retry(_BulkAction):
    """`/dlq/retry`."""

    @operation(
        "retryDeadLetters",
        "Give every dead job that matches a new budget of retries.",
        tag="dead letters",
        body=Body(ChangeDeadLetters, is_optional=True, examples=EXAMPLES),
        answers=ANSWERS,
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        self._perform(req, resp, Verb.RETRY)


class Discard(_BulkAction):
    """`/dlq/discard`."""

    @operation(
        "discardDeadLetters",
        "Give every dead job that matches up for good.",
        tag="dead letters",
        body=Body(ChangeDeadLetters, is_optional=True, examples=EXAMPLES),
        answers=ANSWERS,
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        self._perform(req, resp, Verb.DISCARD)


def _status(result: BulkResult) -> str:
    """Say whether to send it again (202), but not where nothing would ever come of that."""
    if result.dry_run:
        return falcon.HTTP_200
    if result.remaining and (result.changed or not result.refused):
        return falcon.HTTP_202
    return falcon.HTTP_207 if result.refused else falcon.HTTP_200
