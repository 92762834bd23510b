"""A job's history over HTTP: every event it ever had, in the order of versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from ledger_projections.paging import Place, cut, decode_cursor

from ledger.resources import event_resource
from ledger_api import schemas
from ledger_api.openapi import headers, queries
from ledger_api.openapi.operation import Answer, operation
from ledger_api.pages import send_page
from ledger_api.parameters import Parameters

if TYPE_CHECKING:
    import falcon

    from ledger import Ledger
    from ledger.events import Entry


class _Events(msgspec.Struct, frozen=True):
    """What a cursor of this list is bound to."""

    job_id: str


class History:
    """`/jobs/{id}/events`: read from the log, so it is current at once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @operation(
        "listJobEvents",
        "Read the whole history of a job, oldest event first.",
        tag="jobs",
        parameters=queries.PAGE,
        answers={200: Answer(list[schemas.Event], "A page of events.", headers.PAGE)},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        query = Parameters(req)
        limit, cursor = query.limit(), query.cursor()
        query.end()
        bound_to = _Events(job_id.lower())
        after = decode_cursor(cursor, bound_to)
        version = 0 if after is None else after.version
        entries = [entry for entry in self._ledger.history(job_id) if entry.version > version]
        page, next_cursor = cut(entries, limit, _place, bound_to)
        send_page(req, resp, map(event_resource, page), next_cursor)


def _place(entry: Entry) -> Place:
    return Place(entry.at, entry.job_id, entry.version)
