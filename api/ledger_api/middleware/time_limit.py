"""The limit of one request: what it still asks of Postgres after `API_TIMEOUT` is cancelled, and the answer is 503."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.runtime import deadline

if TYPE_CHECKING:
    from datetime import timedelta

    import falcon


class TimeLimit:
    def __init__(self, span: timedelta) -> None:
        self._span = span

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        del req, resp
        deadline.start(self._span)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool
    ) -> None:
        del req, resp, resource, req_succeeded
        deadline.clear()
