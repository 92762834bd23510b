"""Events as the log stores them, and back.

A row keeps what the system says about a job in `data`, and the user's own JSON apart in `body` (the payload in a job's
first event, the handler's result in `succeeded`), byte for byte: readers that fold the log never touch a large payload.
Every row carries the schema version it was written with; older ones are lifted by `UPCASTERS` when they are read, for
the log itself is never changed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, assert_never

import msgspec
import orjson

from ledger.errors import CorruptHistory
from ledger.events import (
    KINDS,
    Cancelled,
    DeadLettered,
    Discarded,
    Enqueued,
    Event,
    Failed,
    Kind,
    Leased,
    Request,
    Retried,
    Scheduled,
    Succeeded,
)
from ledger.texts import plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

SCHEMA_VERSION = 1

UPCASTERS: dict[tuple[Kind, int], Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""(kind, schema version) -> the function that lifts its data by one version; data in, data out, pure."""

_EVENTS: dict[str, msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(type_) for type_, kind in KINDS.items()}
_OPENING = frozenset({Kind.SCHEDULED.value, Kind.ENQUEUED.value})
_REQUEST = msgspec.json.Decoder(Request)
_set = msgspec.structs.force_setattr


def rfc3339(at: datetime) -> str:
    """Return the instant in UTC with microseconds and Z, as the log, the API and the command line write times.

    >>> rfc3339(datetime(2026, 11, 24, 5, 48, 17, tzinfo=UTC))
    '2026-11-24T05:48:17.000000Z'
    """
    # Not strftime: its %Y does not pad the year, and what it writes of the year 900 cannot be read back.
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def encode(event: Event) -> tuple[dict[str, Any], bytes | None]:
    """Return (data, body) of an event. Members without a value are left out."""
    match event:
        case Scheduled(run_at, request, reason):
            data = _request_data(request) | {"run_at": rfc3339(run_at), "reason": _words(reason)}
            return _present(data), request.payload if request else None
        case Enqueued(request, reason, note, crash_count):
            data = _request_data(request) | {"reason": reason, "note": _words(note), "crash_count": crash_count}
            return _present(data), request.payload if request else None
        case Leased(worker_id, attempt, nonce, ready_at):
            data = {"worker_id": worker_id, "attempt": attempt, "nonce": nonce, "ready_at": _time(ready_at)}
            return _present(data), None
        case Succeeded(duration_ms, result):
            return {"duration_ms": duration_ms}, result
        case Failed() | DeadLettered():
            return _present(msgspec.structs.asdict(event)), None
        case Cancelled() | Discarded():
            return _present(msgspec.structs.asdict(event) | {"reason": _words(event.reason)}), None
        case Retried():
            data = msgspec.structs.asdict(event) | {"run_at": rfc3339(event.run_at), "reason": _words(event.reason)}
            return _present(data), None
        case _:
            assert_never(event)


def decode(kind: str, version: int, schema_version: int, data: str | bytes, body: bytes | None) -> Event:
    """Return the event a row holds; raise CorruptHistory when it does not hold one."""
    try:
        return _decode(kind, version, schema_version, data, body)
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise CorruptHistory(f"a {kind} event at version {version} cannot be read: {error}") from error


def present_data(event: Event) -> dict[str, Any]:
    """Return `data` as readers are shown it: with the user's JSON back in its place, `payload` or `result`."""
    data, body = encode(event)
    if body is None:
        return data
    return data | {"result" if isinstance(event, Succeeded) else "payload": orjson.Fragment(body)}


def _decode(kind: str, version: int, schema_version: int, data: str | bytes, body: bytes | None) -> Event:
    if schema_version != SCHEMA_VERSION:
        data = _upcast(Kind(kind), schema_version, data)
    event: Any = _EVENTS[kind].decode(data)
    if version == 1 and kind in _OPENING:
        request = _REQUEST.decode(data)
        # Nobody has seen these two yet; copies of them would cost more than to read them.
        _set(request, "payload", b"{}" if body is None else body)
        _set(event, "request", request)
    elif body is not None and kind == Kind.SUCCEEDED:
        _set(event, "result", body)
    return event


def _upcast(kind: Kind, schema_version: int, data: str | bytes) -> bytes:
    members = orjson.loads(data)
    for version in range(schema_version, SCHEMA_VERSION):
        lift = UPCASTERS.get((kind, version))
        members = lift(members) if lift else members
    return orjson.dumps(members)


def _request_data(request: Request | None) -> dict[str, Any]:
    if request is None:
        return {}
    return {
        "type": request.type,
        "max_retries": request.max_retries,
        "timeout_seconds": request.timeout_seconds,
        "retry": msgspec.structs.asdict(request.retry),
        "scheduled_at": _time(request.scheduled_at),
        "expires_at": _time(request.expires_at),
        "deadline": _time(request.deadline),
        "metadata": request.metadata or None,
        "idempotency_key": request.idempotency_key,
        "schedule_id": _text(request.schedule_id),
        "tick_at": _time(request.tick_at),
        "payload_version": request.payload_version if request.payload_version != 1 else None,
    }


def _present(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}


def _words(text: str | None) -> str | None:
    return None if text is None else plain(text)


def _time(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
