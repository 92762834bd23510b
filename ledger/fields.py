"""The fields that requests are made of: one annotated type each, which refuses what is not allowed and describes itself
in the API's document.

A pattern ends in `END`: `$` alone would let a line break through. What no pattern can say (a duration's range, an id of
about now, one member against another) is checked in `ledger.requests`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from msgspec import Meta

END = r"$(?!\n)"
"""The end of the text."""

MAX_DELAY = timedelta(days=5 * 365 + 1)
"""Five years, with the leap day that most of them hold."""
MIN_TIMEOUT = timedelta(milliseconds=1)
MAX_TIMEOUT = timedelta(hours=168)
MAX_PAYLOAD_VERSION = 2**31 - 1
REASON_LIMIT = 500

A_DURATION = "must be a duration in a string, such as 90s or PT90S"
A_TIME = "must be a time in RFC 3339 with an offset, such as 2026-11-24T08:00:00Z"

_NUMBER = r"\d{1,15}(\.\d{1,12})?"
_GO = r"(\d{1,15}(\.\d{0,12})?(ns|us|µs|ms|s|m|h))+"
_ISO = rf"P(?=.)({_NUMBER}W|({_NUMBER}D)?(T(?=.)({_NUMBER}H)?({_NUMBER}M)?({_NUMBER}S)?)?)"
_DURATION = {"pattern": f"^(0|{_GO}|{_ISO})$", "format": "ledger-duration"}
"""Published only: `ledger.durations` reads them, and says better what is wrong."""

JobType = Annotated[
    str,
    Meta(
        pattern=rf"^[A-Za-z0-9][A-Za-z0-9._:-]{{0,99}}{END}",
        description="Names the handler.",
        examples=["email.send"],
        extra={
            "must": "must be 1 to 100 of letters, digits, '.', '_', ':', '-'",
            "missing": "job type is required",
        },
    ),
]
Payload = Annotated[
    dict[str, Any],
    Meta(
        description="What the handler is given; its bytes are kept and given back as they were sent.",
        examples=[{"to": "a@b.c", "subject": "hi"}],
        extra={"must": "must be an object"},
    ),
]
QueueName = Annotated[
    str,
    Meta(
        pattern=rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,49}}{END}",
        description="The queue the job waits in.",
        examples=["mail"],
        extra={"must": "must be 1 to 50 of letters, digits, '.', '_', '-'"},
    ),
]
PriorityWord = Annotated[
    Literal["critical", "high", "medium", "low"],
    Meta(
        description="Inside a queue the higher priority always goes first.",
        examples=["high"],
        extra={"must": "must be one of critical, high, medium, low"},
    ),
]
MaxRetries = Annotated[
    int,
    Meta(
        ge=0,
        le=1000,
        description="How often the job is retried after its first run.",
        examples=[5],
        extra={"must": "must be a whole number from 0 to 1000"},
    ),
]
Timeout = Annotated[
    str,
    Meta(
        description="The limit of one run, 1 ms to 168 h. Only one of `timeout` and `timeout_seconds`.",
        examples=["30s", "PT5M"],
        extra_json_schema=_DURATION,
        extra={"must": A_DURATION},
    ),
]
TimeoutSeconds = Annotated[
    float,
    Meta(
        ge=MIN_TIMEOUT.total_seconds(),
        le=MAX_TIMEOUT.total_seconds(),
        description="The limit of one run in seconds, 1 ms to 168 h.",
        examples=[30],
        extra={"must": "must be a number of seconds, 1 ms to 168 h; timeout takes durations such as 90s"},
    ),
]
Delay = Annotated[
    str,
    Meta(
        description="How long to wait first; at most 5 years.",
        examples=["15m", "PT1H"],
        extra_json_schema=_DURATION,
        extra={"must": A_DURATION},
    ),
]
Span = Annotated[
    str,
    Meta(description="1 ms to 168 h.", examples=["10s"], extra_json_schema=_DURATION, extra={"must": A_DURATION}),
]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"}, extra={"must": A_TIME})]
ScheduledAt = Annotated[
    Time,
    Meta(
        description="Not before then; in the past is now, at most 5 years ahead. Only one of this and `delay`.",
        examples=["2026-11-24T08:00:00Z"],
    ),
]
ExpiresAt = Annotated[
    Time,
    Meta(
        description="A job that has not started by then is cancelled. Later than now and than `scheduled_at`.",
        examples=["2026-11-24T09:00:00+01:00"],
    ),
]
Deadline = Annotated[
    Time,
    Meta(
        description="The job is never run past this moment, begun or not. Later than now and than `scheduled_at`.",
        examples=["2026-11-24T10:00:00Z"],
    ),
]
Backoff = Annotated[Literal["constant", "linear", "exponential"], Meta(description="How delays grow.")]
Jitter = Annotated[Literal["none", "full", "equal", "decorrelated"], Meta(description="How delays are spread.")]
MetadataKey = Annotated[str, Meta(min_length=1, max_length=100, extra={"must": "keys must have 1 to 100 characters"})]
MetadataValue = Annotated[str, Meta(max_length=1000, extra={"must": "must be a string of at most 1000 characters"})]
Metadata = Annotated[
    dict[MetadataKey, MetadataValue],
    Meta(
        max_length=50,
        description="The user's own labels.",
        examples=[{"tenant": "7"}],
        extra={"must": "must be an object of at most 50 strings"},
    ),
]
JobId = Annotated[
    str,
    Meta(
        pattern=(r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-7[0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}" + END),
        description="The caller's own id: a UUIDv7 made within a day of now.",
        extra_json_schema={"format": "ledger-job-id"},
        extra={"must": "must be a UUIDv7"},
    ),
]
IdempotencyKey = Annotated[
    str,
    Meta(
        pattern=rf"^[\x20-\x7e]{{1,255}}{END}",
        description="The same request again under this key makes no second job.",
        examples=["order-7"],
        extra={"must": "must be 1 to 255 printable ASCII characters"},
    ),
]
CorrelationId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        description="Ties jobs and events of one cause together; the job's own id by default.",
        examples=["order-7"],
        extra={"must": "must be a string of 1 to 128 characters"},
    ),
]
PayloadVersion = Annotated[
    int,
    Meta(
        ge=1,
        le=MAX_PAYLOAD_VERSION,
        description="Which shape of its type's payload this is.",
        extra={"must": f"must be a whole number from 1 to {MAX_PAYLOAD_VERSION}"},
    ),
]
Reason = Annotated[
    str,
    Meta(
        max_length=REASON_LIMIT,
        description="Kept in the event.",
        examples=["asked for by support"],
        extra={"must": f"must be a string of at most {REASON_LIMIT} characters"},
    ),
]
