"""The headers of requests and answers, as the document describes them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ledger import fields
from ledger_api.openapi.operation import Header, Parameter

ETag = Annotated[str, Meta(pattern=r'^"[0-9]+"$', examples=['"3"'])]
Tags = Annotated[str, Meta(pattern=r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$', examples=['"3"', "*"])]
RequestId = Annotated[str, Meta(pattern=r"^[!-~]{1,128}$", examples=["my-request-1"])]
Seconds = Annotated[float, Meta(ge=0, examples=[0.012])]
WholeSeconds = Annotated[int, Meta(ge=1, examples=[1])]

IF_MATCH = Parameter(
    "If-Match", Tags, "Change it only at one of these versions (strong tags); else 412. `*` is any.", "header"
)
IF_NONE_MATCH = Parameter("If-None-Match", Tags, "Answer 304 where it is still at one of these versions.", "header")
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    fields.IdempotencyKey,
    "The same request again under this key, also at the same moment, makes nothing new.",
    "header",
)
TRACEPARENT = Parameter(
    "traceparent",
    Annotated[str, Meta(examples=["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])],
    "The W3C trace that this request is part of; kept in the event. A garbled one is ignored.",
    "header",
)
REQUEST_ID = Parameter(
    "X-Request-Id",
    Annotated[str, Meta(examples=["my-request-1"])],
    "A name for this request, up to 128 visible ASCII characters; anything else is replaced by a made one.",
    "header",
)

SENT_REQUEST_ID = Header("X-Request-Id", RequestId, "The name of the request: the caller's own, or a made one.")
ETAG = Header("ETag", ETag, "The version, for `If-Match` and `If-None-Match`.")
LOCATION = Header("Location", Annotated[str, Meta(examples=["/api/v1/jobs/01980000-0000-7000-8000-000000000000"])],
                  "Where it is.")  # fmt: skip
REPLAYED = Header(
    "Idempotency-Replayed",
    Annotated[str, Meta(pattern="^true$")],
    "There when an earlier request under the same key had made the job.",
    is_always_there=False,
)
LAG = Header("Ledger-Lag-Seconds", Seconds, "How late the read model is that this was read from.")
LINK = Header(
    "Link",
    Annotated[str, Meta(examples=['</api/v1/jobs?cursor=abc>; rel="next"'])],
    "The next page; absent on the last one.",
    is_always_there=False,
)
NEXT_CURSOR = Header(
    "Next-Cursor", str, "The `cursor` of the next page; absent on the last one.", is_always_there=False
)
ALLOW = Header("Allow", Annotated[str, Meta(examples=["GET, HEAD, POST"])], "The methods that this route has.")
RETRY_AFTER = Header("Retry-After", WholeSeconds, "Seconds after which the same request may succeed.")
RETRY_IN_USE = Header(
    "Retry-After", WholeSeconds, "With `idempotency_key_in_use`: seconds to wait.", is_always_there=False
)
WWW_AUTHENTICATE = Header("WWW-Authenticate", Annotated[str, Meta(examples=["Bearer"])], "How to show a key.")

PAGE = (LINK, NEXT_CURSOR)
"""What every list has."""
