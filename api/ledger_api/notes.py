"""What a job's handlers have said over HTTP: their progress and messages, run by run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.notes import note_resource
from ledger.resources import dumps
from ledger_api import schemas
from ledger_api.openapi.operation import Answer, operation
from ledger_api.parameters import Parameters

if TYPE_CHECKING:
    import falcon

    from ledger import Ledger


class Notes:
    """`/jobs/{id}/notes`: of each run at most 200, so there are no pages."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @operation(
        "listJobNotes",
        "Read what a job's handlers have said while they ran, oldest first.",
        tag="jobs",
        answers={200: Answer(list[schemas.Note], "The notes.")},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        Parameters(req).end()
        resp.data = dumps([note_resource(note) for note in self._ledger.notes(job_id)])
