"""Refusals as RFC 9457 problems: the only place that knows which error is which status code.

Responders raise `Problem` for what HTTP itself forbids and let every `LedgerError` pass; the handlers below turn both,
Falcon's own errors and our bugs into one shape. `error` repeats `detail` for clients of job-queue. No stack trace ever
leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import falcon
import orjson
import structlog
from ledger_projections.paging import InvalidCursor

from ledger import errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log = structlog.get_logger()

KINDS: dict[str, tuple[int, str]] = {
    "malformed_request": (400, "The request cannot be read"),
    "invalid_parameter": (400, "A parameter is not allowed"),
    "unauthorized": (401, "Who are you?"),
    "forbidden": (403, "This is not allowed to you"),
    "not_found": (404, "Nothing is here"),
    "method_not_allowed": (405, "The method is not allowed here"),
    "state_conflict": (409, "Not possible in the present state"),
    "job_exists": (409, "The job id is taken"),
    "schedule_exists": (409, "The name of the schedule is taken"),
    "idempotency_key_in_use": (409, "The idempotency key is in use at this moment"),
    "precondition_failed": (412, "The version has changed"),
    "too_large": (413, "The request is too large"),
    "unsupported_media_type": (415, "The media type is not supported"),
    "validation_failed": (422, "A value is not allowed"),
    "idempotency_key_reused": (422, "The idempotency key belongs to another request"),
    "rate_limited": (429, "Too many requests"),
    "internal_error": (500, "Something is wrong on our side"),
    "unavailable": (503, "Not available at this moment"),
}
"""code -> (status, title). Codes never change; the prose may."""

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = {"Retry-After": "1"}


class Problem(Exception):
    """A refusal, complete but for the request it answers."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code, self.detail, self.errors = code, detail, tuple(errors)
        self.headers, self.members = headers or {}, members or {}

    @property
    def status(self) -> int:
        return KINDS[self.code][0]

    def resource(self, instance: str, request_id: str | None) -> dict[str, Any]:
        status, title = KINDS[self.code]
        return {
            "type": f"urn:ledger:problem:{self.code}",
            "title": title,
            "status": status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "error": self.detail,
            "request_id": request_id,
            "errors": self.errors,
            **self.members,
        }

    def body(self, instance: str, request_id: str | None) -> bytes:
        return orjson.dumps(self.resource(instance, request_id), default=str)


def not_found(detail: str) -> Problem:
    return Problem("not_found", detail)


def invalid_parameters(errors: Sequence[tuple[str, str]]) -> Problem:
    """Refuse query parameters or headers: (name, what is wrong) each."""
    detail = "; ".join(f"{name}: {wrong}" for name, wrong in errors)
    return Problem("invalid_parameter", detail, errors=[{"parameter": name, "detail": wrong} for name, wrong in errors])


def precondition_failed(version: int, noun: str = "job") -> Problem:
    detail = f"the {noun} is at version {version} by now; look at it again and decide anew"
    return Problem("precondition_failed", detail, members={"version": version})


def of_error(error: errors.LedgerError) -> Problem:
    """Return how a deliberate error is told over HTTP."""
    detail = str(error)
    match error:
        case errors.InvalidRequest():
            return _of_breaches(error)
        case errors.MalformedJson():
            return Problem("malformed_request", f"the body {detail}")
        case InvalidCursor():
            return invalid_parameters([("cursor", detail)])
        case errors.JobNotFound():
            return not_found("job not found")
        case errors.ScheduleNotFound():
            return not_found("schedule not found")
        case errors.ScheduleExists():
            return Problem("schedule_exists", detail)
        case errors.ScheduleChanged():
            return Problem("precondition_failed", detail, members={"version": error.version})
        case errors.ScheduleInCode() | errors.ScheduleZoneUnknown():
            return Problem("state_conflict", detail, members={"version": error.version})
        case errors.CommandRefused():
            return Problem("state_conflict", detail, members={"state": str(error.state), "version": error.version})
        case errors.JobExists():
            return Problem("job_exists", detail)
        case errors.VersionConflict():
            return Problem("state_conflict", detail)
        case errors.IdempotencyConflict():
            return Problem("idempotency_key_reused", detail)
        case errors.IdempotencyKeyInUse():
            return Problem("idempotency_key_in_use", detail, headers=RETRY_AFTER)
        case errors.Unavailable():
            return Problem("unavailable", detail, headers=RETRY_AFTER)
        case _:
            log.error("unexpected error", exc_info=error)
            return internal_error()


def render(req: falcon.Request, resp: falcon.Response, problem: Problem) -> None:
    """Answer with the problem, and with nothing of what the responder had prepared."""
    for header in ("ETag", "Link", "Next-Cursor", "Location", "Ledger-Lag-Seconds", "Idempotency-Replayed"):
        resp.delete_header(header)
    resp.status = problem.status
    resp.set_headers(dict(problem.headers))
    resp.content_type = MEDIA_TYPE
    resp.text = None
    resp.data = problem.body(req.path, getattr(req.context, "request_id", None))


def install(app: falcon.App[Any, Any]) -> None:
    """Make every error of this application leave as a problem."""
    app.add_error_handler(Exception, _handle_bug)
    app.add_error_handler(falcon.HTTPError, _handle_http_error)
    app.add_error_handler(errors.LedgerError, _handle_ledger_error)
    app.add_error_handler(Problem, _handle_problem)


def _handle_problem(req: falcon.Request, resp: falcon.Response, error: Problem, _: dict[str, Any]) -> None:
    render(req, resp, error)


def _handle_ledger_error(
    req: falcon.Request, resp: falcon.Response, error: errors.LedgerError, _: dict[str, Any]
) -> None:
    render(req, resp, of_error(error))


def _handle_http_error(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, _: dict[str, Any]) -> None:
    code = _CODES.get(error.status_code, "malformed_request")
    detail = error.description or error.title or "the request cannot be read"
    match error:
        case falcon.HTTPNotFound():
            detail = f"no such route: {req.path}"
        case falcon.HTTPMethodNotAllowed():
            detail = f"{req.method} is not allowed here"
        case falcon.HTTPInvalidHeader() | falcon.HTTPInvalidParam():
            code = "invalid_parameter"
        case _:
            pass
    render(req, resp, Problem(code, detail, headers=_text_headers(error)))


def _text_headers(error: falcon.HTTPError) -> dict[str, str]:
    return {str(name): str(value) for name, value in dict(error.headers or {}).items()}


def _handle_bug(req: falcon.Request, resp: falcon.Response, error: Exception, _: dict[str, Any]) -> None:
    request_id = getattr(req.context, "request_id", None)
    log.error("unexpected error", exc_info=error, method=req.method, path=req.path, request_id=request_id)
    render(req, resp, internal_error())


def internal_error() -> Problem:
    return Problem("internal_error", "this is a bug of ours; the log of the server tells more under this request_id")


def _of_breaches(error: errors.InvalidRequest) -> Problem:
    breaches = error.breaches
    listed = [{"pointer": breach.pointer, "detail": breach.detail} for breach in breaches]
    code = "too_large" if any(breach.too_large for breach in breaches) else "validation_failed"
    detail = breaches[0].detail if [breach.detail for breach in breaches] == [_TYPE_MISSING] else str(error)
    return Problem(code, detail, errors=listed)


_TYPE_MISSING = "job type is required"
"""Kept word for word: what the original's clients read."""

_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    500: "internal_error",
    503: "unavailable",
}
