"""The problems in the document: which an operation can meet, and how each answer looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ledger_api import schemas
from ledger_api.openapi import headers
from ledger_api.problems import KINDS, MEDIA_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ledger_api.openapi.operation import Header, Operation

Json = dict[str, Any]
Problems = dict[int, tuple[str, ...]]
"""Status -> codes."""

TYPES = {id(schemas.Problem): schemas.Problem}

_ANYWHERE = ("method_not_allowed", "internal_error", "unavailable")
_WITH_A_KEY = ("unauthorized", "forbidden", "rate_limited")
_IN_THE_BASE = ("malformed_request", "invalid_parameter")
_WITH_A_BODY = ("too_large", "unsupported_media_type", "validation_failed")
_WITH_A_HEADER = {
    headers.IF_MATCH.name: ("precondition_failed",),
    headers.IDEMPOTENCY_KEY.name: ("idempotency_key_in_use", "idempotency_key_reused"),
}
_HEADERS: dict[int, tuple[Header, ...]] = {
    401: (headers.WWW_AUTHENTICATE,),
    405: (headers.ALLOW,),
    429: (headers.RETRY_AFTER,),
    503: (headers.RETRY_AFTER,),
}


def of(operation: Operation, scope: str | None, *, has_path_parameters: bool) -> Problems:
    """Return every problem that the operation can meet."""
    codes = {*_ANYWHERE, *operation.problems}
    if scope is not None:
        codes.update(_WITH_A_KEY, _IN_THE_BASE)
    if has_path_parameters:
        codes.add("not_found")
    if operation.body is not None:
        codes.update(_WITH_A_BODY)
    for parameter in operation.parameters:
        codes.update(_WITH_A_HEADER.get(parameter.name, ()))
    found: Problems = {}
    for code, (status, _) in KINDS.items():
        if code in codes:
            found[status] = (*found.get(status, ()), code)
    return found


def references(problems: Problems) -> Json:
    return {str(status): {"$ref": f"#/components/responses/{_name(codes)}"} for status, codes in problems.items()}


def components(problems: Problems) -> Json:
    return {_name(codes): _response(status, codes) for status, codes in problems.items()}


def header(told: Header) -> Json:
    """Return a header as the document describes it."""
    return {"description": told.description, "required": told.is_always_there, "schema": msgspec.json.schema(told.type)}


def _response(status: int, codes: tuple[str, ...]) -> Json:
    special = {"properties": {"status": {"const": status}, "code": {"enum": list(codes)}}}
    extra = (headers.RETRY_IN_USE,) if "idempotency_key_in_use" in codes else _HEADERS.get(status, ())
    return {
        "description": ". ".join(f"`{code}`: {KINDS[code][1]}" for code in codes) + ".",
        "headers": {each.name: header(each) for each in (*extra, headers.SENT_REQUEST_ID)},
        "content": {
            MEDIA_TYPE: {
                "schema": {"allOf": [{"$ref": "#/components/schemas/Problem"}, special]},
                "examples": {code: {"value": _example(code)} for code in codes},
            }
        },
    }


def _example(code: str) -> Json:
    status, title = KINDS[code]
    detail = _DETAILS.get(code, title)
    return {
        "type": f"urn:ledger:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": "/api/v1/jobs",
        "code": code,
        "error": detail,
        "request_id": "5f1d7a84db0f4a4ef1f0b3c2",
        "errors": [{"pointer": "/type", "detail": detail}] if code == "validation_failed" else [],
        **({"state": "succeeded", "version": 3} if code == "state_conflict" else {}),
        **({"version": 3} if code == "precondition_failed" else {}),
    }


_DETAILS = {"not_found": "job not found", "validation_failed": "job type is required"}


def _name(codes: Iterable[str]) -> str:
    """Return what the document calls the answer with these codes.

    >>> _name(["job_exists", "idempotency_key_in_use"])
    'JobExistsOrIdempotencyKeyInUse'
    """
    return "Or".join(code.title().replace("_", "") for code in codes)
