"""A request to make a job, checked: the same rules for HTTP, Python, the command line and MCP.

All that is wrong is found before anything is refused, each breach with a JSON Pointer to the member. What comes out is
complete: defaults are resolved here, once, so the job's first event says all there is to say about it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import orjson

from ledger import durations, ids
from ledger.errors import Breach, InvalidRequest
from ledger.events import Priority, Request, RetryPolicy
from ledger.settings import QUEUE_NAME
from ledger.texts import is_keepable

if TYPE_CHECKING:
    from ledger.settings import Settings

TYPE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}", re.ASCII)
_IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}", re.ASCII)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)

MAX_DELAY = timedelta(days=5 * 366)
MAX_TIMEOUT = timedelta(hours=168)
MIN_TIMEOUT = timedelta(milliseconds=1)
MAX_PAYLOAD_VERSION = 2**31 - 1

MEMBERS = frozenset(
    {
        "type", "payload", "queue", "priority", "max_retries", "timeout", "timeout_seconds", "scheduled_at", "delay",
        "expires_at", "deadline", "retry", "metadata", "id", "idempotency_key", "correlation_id", "payload_version",
    }
)  # fmt: skip
"""The fields of a request to enqueue."""


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A job about to be made: what was asked for, and under which names."""

    request: Request
    queue: str
    priority: Priority
    job_id: UUID | None
    """The caller's own; None where one is to be minted."""
    correlation_id: str | None
    fingerprint: bytes
    """Digest of type, payload as a JSON value, and options as sent: what an idempotency key compares."""


def submission(
    members: Mapping[str, Any], payload: bytes, settings: Settings, now: datetime, *, from_json: bool = False
) -> Submission:
    """Check the members of a request to enqueue; raise InvalidRequest with every breach.

    `members` are JSON values (Python callers, without `from_json`, may also give timedelta, seconds, datetime and
    UUID); `payload` is the JSON object exactly as sent, already known to be one.
    """
    check = _Check(members, from_json=from_json)
    for name in members.keys() - MEMBERS:
        check.breach(name, "is not a member of this request")
    if len(payload) > settings.job_max_payload:
        check.breaches.append(
            Breach(
                "/payload", f"has {len(payload)} bytes; at most {settings.job_max_payload} are allowed", too_large=True
            )
        )
    scheduled_at = _scheduled_at(check, now)
    soonest = max(now, scheduled_at or now)
    key = check.text("idempotency_key", _IDEMPOTENCY_KEY, "1 to 255 printable ASCII characters")
    request = Request(
        type=_type(check),
        payload=payload,
        max_retries=check.integer("max_retries", 0, 1000, settings.job_default_max_retries),
        timeout_seconds=_timeout(check, settings).total_seconds(),
        retry=_retry(check, settings),
        scheduled_at=scheduled_at,
        expires_at=_later(check, "expires_at", soonest),
        deadline=_later(check, "deadline", soonest),
        metadata=_metadata(check),
        idempotency_key=key,
        payload_version=check.integer("payload_version", 1, MAX_PAYLOAD_VERSION, 1),
    )
    found = Submission(
        request=request,
        queue=check.text("queue", QUEUE_NAME, "1 to 50 of letters, digits, '.', '_', '-'") or "default",
        priority=_priority(check),
        job_id=_job_id(check, now),
        correlation_id=_correlation_id(check),
        fingerprint=b"" if key is None else fingerprint(members, payload),
    )
    if check.breaches:
        raise InvalidRequest(check.breaches)
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
    raise ValueError("must be a time in RFC 3339 with an offset, such as 2026-11-24T08:00:00Z")


class _Check:
    """Collects breaches, so that all bad members are named at once. Each reader returns a usable value either way."""

    def __init__(self, members: Mapping[str, Any], *, from_json: bool) -> None:
        self.members = members
        self.from_json = from_json
        self.breaches: list[Breach] = []

    def breach(self, name: str, detail: str, *inner: str) -> None:
        path = (part.replace("~", "~0").replace("/", "~1") for part in (name, *inner))
        self.breaches.append(Breach("".join(f"/{part}" for part in path), detail))

    def text(self, name: str, pattern: re.Pattern[str], allowed: str) -> str | None:
        value = self.members.get(name)
        if name not in self.members:
            return None
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.breach(name, f"must be {allowed}")
            return None
        return value

    def integer(self, name: str, least: int, most: int, default: int) -> int:
        value = self.members.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.breach(name, f"must be a whole number from {least} to {most}")
            return default
        return value

    def time(self, name: str) -> datetime | None:
        if name not in self.members:
            return None
        try:
            return instant(self.members[name])
        except ValueError as error:
            self.breach(name, str(error))
            return None

    def duration(self, name: str) -> timedelta | None:
        """Read a duration. In JSON one has a unit: a bare number is refused there, and means seconds in Python."""
        if name not in self.members:
            return None
        if self.from_json and not name.endswith("_seconds") and not isinstance(self.members[name], str):
            self.breach(name, "must be a duration in a string, such as 90s or PT90S")
            return None
        try:
            return span(self.members[name])
        except ValueError as error:
            self.breach(name, str(error))
            return None


def _type(check: _Check) -> str:
    if "type" not in check.members or check.members["type"] == "":
        check.breach("type", "job type is required")
        return ""
    return check.text("type", TYPE_NAME, "1 to 100 of letters, digits, '.', '_', ':', '-'") or ""


def _priority(check: _Check) -> Priority:
    word = check.members.get("priority", "medium")
    try:
        return Priority.from_word(word)
    except (KeyError, TypeError):
        check.breach("priority", "must be one of critical, high, medium, low")
        return Priority.MEDIUM


def _timeout(check: _Check, settings: Settings) -> timedelta:
    if "timeout" in check.members and "timeout_seconds" in check.members:
        check.breach("timeout", "give either timeout or timeout_seconds, not both")
        return settings.job_default_timeout
    name = "timeout_seconds" if "timeout_seconds" in check.members else "timeout"
    if name == "timeout_seconds" and isinstance(check.members[name], str):
        check.breach(name, "must be a number of seconds; timeout takes durations such as 90s")
        return settings.job_default_timeout
    value = check.duration(name)
    if value is None:
        return settings.job_default_timeout
    if not MIN_TIMEOUT <= value <= MAX_TIMEOUT:
        check.breach(name, "must be 1 ms to 168 h")
    return value


def _scheduled_at(check: _Check, now: datetime) -> datetime | None:
    at, delay = check.time("scheduled_at"), check.duration("delay")
    if "scheduled_at" in check.members and "delay" in check.members:
        check.breach("delay", "give either delay or scheduled_at, not both")
        return None
    if delay is not None and delay > MAX_DELAY:
        check.breach("delay", "is more than 5 years ahead")
        return None
    if at is not None and at - now > MAX_DELAY:
        check.breach("scheduled_at", "is more than 5 years ahead")
        return None
    return now + delay if delay else at


def _later(check: _Check, name: str, soonest: datetime) -> datetime | None:
    at = check.time(name)
    if at is not None and at <= soonest:
        check.breach(name, "must be later than now and than scheduled_at")
    return at


def _retry(check: _Check, settings: Settings) -> RetryPolicy:
    default = settings.retry_policy
    given = check.members.get("retry", {})
    if isinstance(given, RetryPolicy):
        return given
    if not isinstance(given, Mapping):
        check.breach("retry", "must be an object with backoff, base, max, jitter")
        return default
    inner = _Check(given, from_json=check.from_json)
    for name in given.keys() - {"backoff", "base", "max", "jitter"}:
        inner.breach(name, "is not a member of retry")
    backoff = _choice(inner, "backoff", ("constant", "linear", "exponential"), default.backoff)
    jitter = _choice(inner, "jitter", ("none", "full", "equal", "decorrelated"), default.jitter)
    base, longest = inner.duration("base"), inner.duration("max")
    for name, value in (("base", base), ("max", longest)):
        if value is not None and not MIN_TIMEOUT <= value <= MAX_TIMEOUT:
            inner.breach(name, "must be 1 ms to 168 h")
    base_seconds = default.base_seconds if base is None else base.total_seconds()
    max_seconds = default.max_seconds if longest is None else longest.total_seconds()
    if base_seconds > max_seconds:
        inner.breach(
            "base" if base is not None else "max", f"base ({base_seconds:g} s) is longer than max ({max_seconds:g} s)"
        )
    check.breaches += [Breach(f"/retry{breach.pointer}", breach.detail) for breach in inner.breaches]
    return RetryPolicy(backoff=backoff, base_seconds=base_seconds, max_seconds=max_seconds, jitter=jitter)


def _choice(check: _Check, name: str, words: tuple[str, ...], default: str) -> Any:
    value = check.members.get(name, default)
    if value not in words:
        check.breach(name, f"must be one of {', '.join(words)}")
        return default
    return value


def _metadata(check: _Check) -> dict[str, str]:
    given = check.members.get("metadata", {})
    if not isinstance(given, Mapping):
        check.breach("metadata", "must be an object of strings")
        return {}
    if len(given) > 50:
        check.breach("metadata", "has more than 50 entries")
    for key, value in given.items():
        if not isinstance(key, str) or not 1 <= len(key) <= 100:
            check.breach("metadata", "keys must have 1 to 100 characters")
        elif not isinstance(value, str) or len(value) > 1000:
            check.breach("metadata", "must be a string of at most 1000 characters", key)
        elif not (is_keepable(key) and is_keepable(value)):
            check.breach("metadata", "holds a character that cannot be kept (U+0000 or half a surrogate pair)")
    return dict(given)


def _correlation_id(check: _Check) -> str | None:
    if "correlation_id" not in check.members:
        return None
    value = check.members["correlation_id"]
    if isinstance(value, str) and 1 <= len(value) <= 128 and is_keepable(value):
        return value
    check.breach("correlation_id", "must be a string of 1 to 128 characters")
    return None


def _job_id(check: _Check, now: datetime) -> UUID | None:
    if "id" not in check.members:
        return None
    value = check.members["id"]
    job_id = value if isinstance(value, UUID) else ids.parse(value) if isinstance(value, str) else None
    if job_id is None or not ids.is_v7(job_id):
        check.breach("id", "must be a UUIDv7")
        return None
    if not ids.is_near(job_id, now):
        check.breach("id", "is a UUIDv7 made more than a day from now; make one now, or leave it out")
        return None
    return job_id


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, RetryPolicy):
        return msgspec.structs.asdict(value)
    return str(value)
