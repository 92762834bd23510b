"""A request to make a job, checked: the same rules for HTTP, Python, the command line and MCP.

All that is wrong is found before anything is refused, each breach with a JSON Pointer to the member. What comes out is
complete: defaults are resolved here, once, so the job's first event says all there is to say about it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Protocol
from uuid import UUID

import msgspec
import orjson
from msgspec import UNSET, Meta, UnsetType

from ledger import durations, fields, ids
from ledger.errors import Breach, InvalidRequest
from ledger.events import Priority, Request, RetryPolicy
from ledger.fields import A_TIME, MAX_DELAY, MAX_TIMEOUT, MIN_TIMEOUT
from ledger.shapes import read
from ledger.texts import is_keepable

if TYPE_CHECKING:
    from ledger.settings import Settings

Breaches = list[Breach]

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_UNKEEPABLE = "holds a character that cannot be kept (U+0000 or half a surrogate pair)"


class Retry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to wait before each retry; what is left out comes from the settings."""

    backoff: fields.Backoff | UnsetType = UNSET
    base: fields.Span | UnsetType = UNSET
    max: fields.Span | UnsetType = UNSET
    jitter: fields.Jitter | UnsetType = UNSET


class Enqueue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to make one job; only its type is required."""

    type: fields.JobType
    payload: fields.Payload | UnsetType = UNSET
    queue: fields.QueueName = "default"
    priority: fields.PriorityWord = "medium"
    max_retries: fields.MaxRetries | UnsetType = UNSET
    timeout: fields.Timeout | UnsetType = UNSET
    timeout_seconds: fields.TimeoutSeconds | UnsetType = UNSET
    scheduled_at: fields.ScheduledAt | UnsetType = UNSET
    delay: fields.Delay | UnsetType = UNSET
    expires_at: fields.ExpiresAt | UnsetType = UNSET
    deadline: fields.Deadline | UnsetType = UNSET
    retry: (
        Annotated[
            Retry,
            Meta(extra={"must": "must be an object with backoff, base, max, jitter"}),
        ]
        | UnsetType
    ) = UNSET
    metadata: fields.Metadata = {}
    id: fields.JobId | UnsetType = UNSET
    idempotency_key: fields.IdempotencyKey | UnsetType = UNSET
    correlation_id: fields.CorrelationId | UnsetType = UNSET
    payload_version: fields.PayloadVersion = 1


MEMBERS = frozenset(Enqueue.__struct_encode_fields__)
"""The fields of a request to enqueue."""


class Submission(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A job about to be made: what was asked for, and under which names."""

    request: Request
    queue: str
    priority: Priority
    job_id: UUID | None
    """The caller's own; None where one is to be minted."""
    correlation_id: str | None
    fingerprint: bytes
    """Digest of type, payload as a JSON value, and options as sent: what an idempotency key compares."""

    @property
    def is_fresh(self) -> bool:
        """Whether the log cannot refuse the job: neither its id nor an idempotency key is the caller's."""
        return self.job_id is None and self.request.idempotency_key is None

    def holding(self, payload: bytes) -> Submission:
        """Return the same request for another payload, which was checked already."""
        return msgspec.structs.replace(self, request=msgspec.structs.replace(self.request, payload=payload))

    def under(self, key: str, members: Mapping[str, Any]) -> Submission:
        """Return the same request under an idempotency key that did not come with its `members`."""
        return msgspec.structs.replace(
            self,
            request=msgspec.structs.replace(self.request, idempotency_key=key),
            fingerprint=fingerprint(members, self.request.payload),
        )


def submission(
    members: Mapping[str, Any], payload: bytes, settings: Settings, now: datetime, *, from_json: bool = False
) -> Submission:
    """Check the members of a request to enqueue; raise InvalidRequest with every breach.

    `members` are JSON values (Python callers, without `from_json`, may also give timedelta, seconds, datetime and
    UUID); `payload` is the JSON object exactly as sent, already known to be one.
    """
    asked, breaches = read(Enqueue, members if from_json else from_python(members))
    if not from_json:
        breaches += _unkeepable(asked)
    if len(payload) > settings.job_max_payload:
        detail = f"has {len(payload)} bytes; at most {settings.job_max_payload} are allowed"
        breaches.append(Breach("/payload", detail, too_large=True))
    scheduled_at = _scheduled_at(asked, now, breaches)
    soonest = now if scheduled_at is None else max(now, scheduled_at)
    key = asked.idempotency_key or None
    found = Submission(
        request=Request(
            type=asked.type,
            payload=payload,
            max_retries=settings.job_default_max_retries if asked.max_retries is UNSET else asked.max_retries,
            timeout_seconds=run_limit(asked, settings.job_default_timeout, breaches).total_seconds(),
            retry=_retry(asked.retry, settings.retry_policy, breaches),
            scheduled_at=scheduled_at,
            expires_at=_later("/expires_at", asked.expires_at, soonest, breaches),
            deadline=_later("/deadline", asked.deadline, soonest, breaches),
            metadata=asked.metadata,
            idempotency_key=key,
            payload_version=asked.payload_version,
        ),
        queue=asked.queue,
        priority=Priority.from_word(asked.priority),
        job_id=_job_id(asked.id, now, breaches),
        correlation_id=asked.correlation_id or None,
        fingerprint=b"" if key is None else fingerprint(members, payload),
    )
    if breaches:
        raise InvalidRequest(breaches)
    return found


def fingerprint(members: Mapping[str, Any], payload: bytes) -> bytes:
    """Return the digest by which a repeated request is told from another one under the same idempotency key."""
    options = {name: value for name, value in members.items() if name not in ("idempotency_key", "payload")}
    told = orjson.dumps(
        {"options": options, "payload": orjson.loads(payload)}, default=_plain, option=orjson.OPT_SORT_KEYS
    )
    return hashlib.sha256(told).digest()


def span(value: Any) -> timedelta:
    """Return a duration given as timedelta, seconds or text; raise ValueError saying how to write one."""
    if isinstance(value, str):
        found = durations.parse(value)
    elif isinstance(value, timedelta):
        found = value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            found = timedelta(seconds=value)
        except (OverflowError, ValueError):
            raise ValueError("is out of range") from None
    else:
        raise ValueError("must be a duration such as 90s or PT90S")  # noqa: TRY004 — one error a caller must catch
    if found < timedelta():
        raise ValueError("must not be negative")
    return found


def instant(value: Any) -> datetime:
    """Return a time given as an aware datetime or RFC 3339 text with an offset; raise ValueError for anything else."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("must have a time zone")
        return value.astimezone(UTC)
    if isinstance(value, str) and _RFC3339.fullmatch(value):
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise ValueError(A_TIME)


def wait(pointer: str, delay: str | UnsetType, breaches: Breaches) -> timedelta | None:
    """Return how long to wait: a `delay` that was given, up to `MAX_DELAY`."""
    found = _span(pointer, delay, breaches)
    if found is not None and found > MAX_DELAY:
        breaches.append(Breach(pointer, "is more than 5 years ahead"))
        return None
    return found


def words(reason: str | None) -> str | None:
    """Return why somebody does something; raise InvalidRequest for what cannot be kept."""
    if reason is None or (isinstance(reason, str) and len(reason) <= fields.REASON_LIMIT and is_keepable(reason)):
        return reason
    raise InvalidRequest([Breach("/reason", f"must be a string of at most {fields.REASON_LIMIT} characters")])


class TimeLimited(Protocol):
    """A request that says how long a run may take, in one of two ways."""

    @property
    def timeout(self) -> str | UnsetType: ...
    @property
    def timeout_seconds(self) -> float | UnsetType: ...


def run_limit(asked: TimeLimited, default: timedelta, breaches: Breaches) -> timedelta:
    """Return the limit of one run."""
    if asked.timeout_seconds is not UNSET:
        if asked.timeout is not UNSET:
            breaches.append(Breach("/timeout", "give either timeout or timeout_seconds, not both"))
        return timedelta(seconds=asked.timeout_seconds)
    return _run_span("/timeout", asked.timeout, breaches) or default


def _scheduled_at(asked: Enqueue, now: datetime, breaches: Breaches) -> datetime | None:
    if asked.delay is UNSET and asked.scheduled_at is UNSET:
        return None
    at, delay = _time("/scheduled_at", asked.scheduled_at, breaches), wait("/delay", asked.delay, breaches)
    if asked.delay is not UNSET and asked.scheduled_at is not UNSET:
        breaches.append(Breach("/delay", "give either delay or scheduled_at, not both"))
    elif at is not None and at - now > MAX_DELAY:
        breaches.append(Breach("/scheduled_at", "is more than 5 years ahead"))
    else:
        return now + delay if delay else at
    return None


def _later(pointer: str, text: str | UnsetType, soonest: datetime, breaches: Breaches) -> datetime | None:
    at = _time(pointer, text, breaches)
    if at is not None and at <= soonest:
        breaches.append(Breach(pointer, "must be later than now and than scheduled_at"))
    return at


def _retry(asked: Retry | UnsetType, default: RetryPolicy, breaches: Breaches) -> RetryPolicy:
    if asked is UNSET:
        return default
    base, longest = _run_span("/retry/base", asked.base, breaches), _run_span("/retry/max", asked.max, breaches)
    base_seconds = default.base_seconds if base is None else base.total_seconds()
    max_seconds = default.max_seconds if longest is None else longest.total_seconds()
    if base_seconds > max_seconds:
        pointer = "/retry/max" if base is None else "/retry/base"
        breaches.append(Breach(pointer, f"base ({base_seconds:g} s) is longer than max ({max_seconds:g} s)"))
    return RetryPolicy(
        backoff=default.backoff if asked.backoff is UNSET else asked.backoff,
        base_seconds=base_seconds,
        max_seconds=max_seconds,
        jitter=default.jitter if asked.jitter is UNSET else asked.jitter,
    )


def _job_id(text: str | UnsetType, now: datetime, breaches: Breaches) -> UUID | None:
    if text is UNSET:
        return None
    job_id = UUID(text)
    if not ids.is_near(job_id, now):
        detail = "is a UUIDv7 made more than a day from now; make one now, or leave it out"
        breaches.append(Breach("/id", detail))
    return job_id


def _run_span(pointer: str, text: str | UnsetType, breaches: Breaches) -> timedelta | None:
    found = _span(pointer, text, breaches)
    if found is not None and not MIN_TIMEOUT <= found <= MAX_TIMEOUT:
        breaches.append(Breach(pointer, "must be 1 ms to 168 h"))
        return None
    return found


def _span(pointer: str, text: str | UnsetType, breaches: Breaches) -> timedelta | None:
    if text is UNSET:
        return None
    try:
        return durations.parse(text)
    except ValueError as error:
        breaches.append(Breach(pointer, str(error)))
        return None


def _time(pointer: str, text: str | UnsetType, breaches: Breaches) -> datetime | None:
    if text is UNSET:
        return None
    try:
        return instant(text)
    except ValueError as error:
        breaches.append(Breach(pointer, str(error)))
        return None


def _unkeepable(asked: Enqueue) -> Breaches:
    """Find text that Postgres cannot keep; in JSON it has been refused before."""
    breaches = unkeepable_metadata(asked.metadata)
    if asked.correlation_id is not UNSET and not is_keepable(asked.correlation_id):
        breaches.append(Breach("/correlation_id", _UNKEEPABLE))
    return breaches


def unkeepable_metadata(metadata: Mapping[str, str]) -> Breaches:
    """Find labels that Postgres cannot keep."""
    kept = (is_keepable(key) and is_keepable(value) for key, value in metadata.items())
    return [] if all(kept) else [Breach("/metadata", _UNKEEPABLE)]


def from_python(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Python caller's values as JSON spells them; the payload has been written already."""
    return {name: _as_json(name, value) for name, value in members.items() if name != "payload"}


def _as_json(name: str, value: Any) -> Any:
    match value:
        case str() | bool():
            return value
        case int() | float() if name in _SPANS and value >= 0:
            return f"{value:.6f}s"
        case timedelta() if name == "timeout_seconds":
            return value.total_seconds()
        case timedelta() if value >= timedelta():
            return f"{value.total_seconds():.6f}s"
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat()
        case UUID():
            return str(value)
        case RetryPolicy():
            spans = {"base": value.base_seconds, "max": value.max_seconds}
            return from_python({"backoff": value.backoff, "jitter": value.jitter} | spans)
        case Mapping() if name == "retry":
            return from_python(value)
        case _:
            return value


_SPANS = frozenset({"timeout", "delay", "base", "max"})
"""Members in which a bare number means seconds, from Python."""


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, RetryPolicy):
        return msgspec.structs.asdict(value)
    return str(value)
