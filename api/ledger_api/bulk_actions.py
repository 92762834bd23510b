"""Many jobs changed by one request: cancelled, retried or discarded, chosen by a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import falcon
from ledger_projections.bulk_actions import perform
from ledger_projections.bulk_requests import Verb, bulk_action
from ledger_projections.views import resource

from ledger import strict_json
from ledger.resources import dumps
from ledger_api import bodies
from ledger_api.bulk_enqueue import BODY_LIMIT
from ledger_api.callers import actor
from ledger_api.parameters import Parameters

if TYPE_CHECKING:
    from ledger_projections.bulk_actions import BulkResult
    from ledger_projections.queries import Queries

    from ledger import Ledger
    from ledger_api.pages import Lag


class BulkAction:
    """`/jobs/cancel`, `/dlq/retry` and `/dlq/discard`."""

    def __init__(self, ledger: Ledger, queries: Queries, lag: Lag, verb: Verb) -> None:
        self._ledger, self._queries, self._lag, self._verb = ledger, queries, lag, verb

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        body = bodies.read(req, BODY_LIMIT, optional=True)
        Parameters(req).end()
        action = bulk_action(self._verb, strict_json.decode(body) if body else {})
        self._lag.tell(resp, "jobs" if self._verb is Verb.CANCEL else "dead_letters")
        result = perform(self._ledger, self._queries, action, actor=actor(req))
        resp.status = _status(result)
        resp.data = dumps(resource(result))


def _status(result: BulkResult) -> str:
    """Say whether to send it again (202), but not where nothing would ever come of that."""
    if result.dry_run:
        return falcon.HTTP_200
    if result.remaining and (result.changed or not result.refused):
        return falcon.HTTP_202
    return falcon.HTTP_207 if result.refused else falcon.HTTP_200
