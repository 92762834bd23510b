"""Many jobs in one request: each told apart by its number, or (`atomic`) all or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import falcon
import msgspec
from msgspec import Meta

from ledger import shapes, strict_json
from ledger.errors import Breach, IdempotencyConflict, InvalidRequest, JobExists, LedgerError
from ledger.job import fold
from ledger.opening import Repeated
from ledger.resources import dumps
from ledger_api import bodies, problems, schemas
from ledger_api.callers import actor
from ledger_api.jobs import checked, idempotency_key, traceparent
from ledger_api.openapi import headers
from ledger_api.openapi.operation import Answer, Body, operation
from ledger_api.parameters import Parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from ledger import Ledger
    from ledger.opening import Made
    from ledger.requests import Submission
    from ledger_api.jobs import Check

    Told = Callable[[LedgerError], tuple[int, dict[str, Any]]]

BODY_LIMIT = 16 * 1024 * 1024
LARGEST_BULK = 10_000
A_LIST = f"must be a list of 1 to {LARGEST_BULK} requests to enqueue"


class BulkEnqueueRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests to make jobs. Each job is checked by itself, as `POST /jobs` would."""

    jobs: Annotated[
        list[Any],
        Meta(
            min_length=1,
            max_length=LARGEST_BULK,
            extra_json_schema={"items": {"$ref": "#/components/schemas/Enqueue"}},
            extra={"must": A_LIST, "missing": A_LIST},
        ),
    ]
    atomic: bool = False


class BulkEnqueue:
    """`/jobs/bulk`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @operation(
        "enqueueJobs",
        "Make up to 10,000 jobs.",
        tag="jobs",
        description="Each is told by its number; with `atomic`, all are made or none. "
        "Under an `Idempotency-Key`, job *i* without a key of its own has `<key>:<i>`.",
        parameters=(headers.IDEMPOTENCY_KEY, headers.TRACEPARENT),
        body=Body(BulkEnqueueRequest, examples={"two": {"jobs": [{"type": "example.hello"}, {"type": "email.send"}]}}),
        answers={
            201: Answer(schemas.BulkEnqueue, "Every job was accepted."),
            207: Answer(schemas.BulkEnqueue, "Some were not."),
        },
        problems=("job_exists",),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        body = bodies.read(req, BODY_LIMIT)
        Parameters(req).end()
        key = idempotency_key(req)
        asked, breaches = shapes.read(BulkEnqueueRequest, strict_json.decode(body))
        if breaches:
            raise InvalidRequest(breaches)
        wanted = self._checked(asked.jobs, strict_json.bulk_payload_bytes(body), key)
        if asked.atomic:
            made: Sequence[Made | LedgerError] = self._make_all(wanted, actor(req), traceparent(req))
        else:
            made = self._make_each(wanted, actor(req), traceparent(req))
        answer = self._results(made, lambda error: _told(req, error))
        resp.status = falcon.HTTP_207 if answer["refused"] else falcon.HTTP_201
        resp.data = dumps(answer)

    def _checked(
        self, jobs: list[Any], payloads: list[bytes | None], key: str | None
    ) -> list[Submission | InvalidRequest]:
        """Check each job; the breaches of one are told by their place in the whole body."""
        found: list[Submission | InvalidRequest] = []
        check = Repeated(self._ledger.checked, self._ledger.settings.job_max_payload)
        for index, (job, payload) in enumerate(zip(jobs, payloads, strict=True)):
            try:
                found.append(_checked_one(check, job, payload, None if key is None else f"{key}:{index}"))
            except InvalidRequest as error:
                placed = [Breach(f"/jobs/{index}{b.pointer}", b.detail, b.too_large) for b in error.breaches]
                found.append(InvalidRequest(placed))
        return found

    def _make_all(self, wanted: list[Submission | InvalidRequest], actor_: str, trace: str | None) -> list[Made]:
        breaches = [breach for each in wanted if isinstance(each, InvalidRequest) for breach in each.breaches]
        if breaches:
            raise InvalidRequest(breaches)
        submissions = [each for each in wanted if not isinstance(each, InvalidRequest)]
        try:
            return self._ledger.submit_all(submissions, actor=actor_, traceparent=trace)
        except (JobExists, IdempotencyConflict) as error:
            raise _placed(error, submissions) from None

    def _make_each(
        self, wanted: list[Submission | InvalidRequest], actor_: str, trace: str | None
    ) -> list[Made | LedgerError]:
        submissions = [each for each in wanted if not isinstance(each, InvalidRequest)]
        made = iter(self._ledger.submit_each(submissions, actor=actor_, traceparent=trace))
        return [each if isinstance(each, InvalidRequest) else next(made) for each in wanted]

    def _results(self, made: Sequence[Made | LedgerError], told: Told) -> dict[str, Any]:
        replayed = [each.job_id for each in made if not isinstance(each, LedgerError) and each.replayed]
        versions = self._versions(replayed)
        results = [_result(index, each, versions, told) for index, each in enumerate(made)]
        refused = sum(each["problem"] is not None for each in results)
        return {
            "created": len(made) - len(replayed) - refused,
            "replayed": len(replayed),
            "refused": refused,
            "results": results,
        }

    def _versions(self, job_ids: list[UUID]) -> dict[UUID, int]:
        """Return the present versions of jobs that earlier requests had made."""
        histories = self._ledger.log.histories(job_ids) if job_ids else {}
        return {job_id: job.version for job_id, history in histories.items() if (job := fold(history))}


def _checked_one(check: Check, job: Any, payload: bytes | None, key: str | None) -> Submission:
    if not isinstance(job, dict):
        raise InvalidRequest([Breach("", "must be an object")])
    return checked(check, job, payload, None if "idempotency_key" in job else key)


def _result(index: int, made: Made | LedgerError, versions: dict[UUID, int], told: Told) -> dict[str, Any]:
    if isinstance(made, LedgerError):
        status, problem = told(made)
        return {"index": index, "status": status, "id": None, "version": None, "replayed": False, "problem": problem}
    return {
        "index": index,
        "status": 201,
        "id": made.job_id,
        "version": versions.get(made.job_id, 1),
        "replayed": made.replayed,
        "problem": None,
    }


def _placed(error: JobExists | IdempotencyConflict, submissions: list[Submission]) -> problems.Problem:
    """Return what is told of all, with the job that it failed for; of twins that is the last."""
    if isinstance(error, JobExists):
        indexes = [index for index, each in enumerate(submissions) if each.job_id == error.job_id]
        member = "id"
    else:
        indexes = [i for i, each in enumerate(submissions) if each.request.idempotency_key == error.key]
        member = "idempotency_key"
    problem = problems.of_error(error)
    problem.errors = tuple({"pointer": f"/jobs/{i}/{member}", "detail": problem.detail} for i in indexes[-1:])
    return problem


def _told(req: falcon.Request, error: LedgerError) -> tuple[int, dict[str, Any]]:
    problem = problems.of_error(error)
    return problem.status, problem.resource(req.path, req.context.request_id)
