"""One log line and two metrics a request; the line leaves out the parameters, which may hold what is not for logs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from ledger_api.callers import actor, is_known
from ledger_api.scopes import PROBES

if TYPE_CHECKING:
    import falcon

    from ledger_api.metrics import Metrics

log = structlog.get_logger()


class AccessLog:
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        del resp
        req.context.began = time.monotonic()

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool
    ) -> None:
        del resource, req_succeeded
        seconds = time.monotonic() - req.context.began
        status = int(resp.status_code)
        self._metrics.count(req.method, req.uri_template or "", status, seconds)
        write = log.debug if req.path in PROBES else log.info
        write(
            "request",
            method=req.method,
            path=req.path,
            status=status,
            duration_ms=round(seconds * 1000, 3),
            request_id=req.context.request_id,
            **({"actor": actor(req)} if is_known(req) else {}),
        )
