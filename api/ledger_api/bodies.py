"""Request bodies: media type, size, strict JSON, in the order in which they are refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec
from gunicorn.http.errors import ParseException
from msgspec import UNSET, UnsetType

from ledger import fields, requests, shapes, strict_json
from ledger.errors import InvalidRequest
from ledger_api.conditional import demanded_versions
from ledger_api.parameters import Parameters
from ledger_api.problems import RETRY_AFTER, Problem

if TYPE_CHECKING:
    from datetime import timedelta

    import falcon

    from ledger.errors import Breach
    from ledger_api.conditional import Versions

S = TypeVar("S", bound="Reason")

JSON = "application/json"
SLACK = 64 * 1024
"""What a body may hold besides the payload."""


def read(req: falcon.Request, limit: int, *, optional: bool = False, media_types: tuple[str, ...] = (JSON,)) -> bytes:
    """Return the body; refuse a wrong or compressed one (415), then one that is too large (413)."""
    length = req.content_length
    if optional and not length and (length is not None or req.get_header("Transfer-Encoding") is None):
        return b""
    _check_media_type(req, media_types)
    if length is not None and length > limit:
        raise _too_large(limit)
    body = _read(req, length, limit)
    if len(body) > limit:
        raise _too_large(limit)
    if length is not None and len(body) < length:
        raise Problem("malformed_request", f"the body ended after {len(body)} of {length} bytes")
    return body


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the operator says; an empty body will do as well."""

    reason: fields.Reason | UnsetType = UNSET


class ReasonAndDelay(Reason, frozen=True, forbid_unknown_fields=True):
    """What the operator says, and how long to wait first; an empty body will do as well."""

    delay: fields.Delay | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Verb:
    """A request to change one job: the versions it may be changed at, and what the operator says."""

    versions: Versions | None
    reason: str | None
    delay: timedelta | None = None


def read_verb(req: falcon.Request, *, delayable: bool = False) -> Verb:
    """Read a verb: `reason`, and `delay` where it can be put off."""
    body = read(req, SLACK, optional=True)
    Parameters(req).end()
    versions = demanded_versions(req)
    said, breaches = _said(ReasonAndDelay if delayable else Reason, body)
    delay = requests.wait("/delay", said.delay, breaches) if isinstance(said, ReasonAndDelay) else None
    if breaches:
        raise InvalidRequest(breaches)
    return Verb(versions, None if said.reason is UNSET else said.reason, delay)


def read_reason(req: falcon.Request) -> str | None:
    """Read a verb on what has no versions."""
    body = read(req, SLACK, optional=True)
    Parameters(req).end()
    said, breaches = _said(Reason, body)
    if breaches:
        raise InvalidRequest(breaches)
    return None if said.reason is UNSET else said.reason


def read_wordless_verb(req: falcon.Request) -> Verb:
    """Read a DELETE: it has no body, so its `reason` is a parameter."""
    query = Parameters(req)
    reason = query.reason()
    query.end()
    return Verb(demanded_versions(req), reason)


def _said(shape: type[S], body: bytes) -> tuple[S, list[Breach]]:
    return shapes.read(shape, strict_json.decode(body) if body else {})


def _check_media_type(req: falcon.Request, allowed: tuple[str, ...]) -> None:
    encoding = req.get_header("Content-Encoding")
    if encoding is not None and encoding.strip().lower() not in ("", "identity"):
        raise Problem("unsupported_media_type", "send the body uncompressed: Content-Encoding is not supported")
    content_type = req.content_type
    if content_type == JSON:
        return
    media_type, _, rest = (content_type or "").partition(";")
    charset = rest.strip().lower().removeprefix("charset=").strip('"')
    if media_type.strip().lower() not in allowed or charset not in ("", "utf-8", "utf8"):
        raise Problem(
            "unsupported_media_type",
            f"send the body as {' or '.join(allowed)}, not as {content_type or 'no media type'}",
        )


def _read(req: falcon.Request, length: int | None, limit: int) -> bytes:
    # What is read is bounded too: Content-Length is a promise, and a chunked body has none.
    wanted = limit + 1 if length is None else length
    parts: list[bytes] = []
    try:
        while wanted > 0 and (part := req.stream.read(wanted)):
            parts.append(part)
            wanted -= len(part)
    except (TimeoutError, BlockingIOError) as error:
        raise Problem("unavailable", "the body takes too long to arrive", headers=RETRY_AFTER) from error
    except (ParseException, OSError) as error:  # chunks that are none, or a caller who has gone
        raise Problem("malformed_request", "the body cannot be read to its end: its chunks are not right") from error
    return b"".join(parts)


def _too_large(limit: int) -> Problem:
    return Problem("too_large", f"the body has more than {limit} bytes")
