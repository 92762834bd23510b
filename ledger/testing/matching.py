"""Expectations about jobs: payload members and options by name, as they are given to `.enqueue`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from ledger.binding import OPTIONS
from ledger.requests import instant, span
from ledger.texts import short

if TYPE_CHECKING:
    from ledger.job import JobState

_LONGEST = 300
"""Characters shown of a payload."""

_READERS: dict[str, Callable[[JobState], Any]] = {
    "queue": lambda job: job.queue,
    "priority": lambda job: job.priority.word,
    "max_retries": lambda job: job.max_retries,
    "timeout": lambda job: timedelta(seconds=job.request.timeout_seconds),
    "delay": lambda job: job.request.scheduled_at and job.request.scheduled_at - job.created_at,
    "run_at": lambda job: job.request.scheduled_at,
    "expires_at": lambda job: job.request.expires_at,
    "deadline": lambda job: job.request.deadline,
    "metadata": lambda job: job.metadata,
    "idempotency_key": lambda job: job.request.idempotency_key,
    "correlation_id": lambda job: job.correlation_id,
    "job_id": lambda job: str(job.id),
    "payload_version": lambda job: job.request.payload_version,
}
"""What a job has for each option that can be expected of it."""

_ABSENT = object()


def check(expected: Mapping[str, Any]) -> None:
    """Refuse to expect an option that a job does not show."""
    if unknown := expected.keys() & OPTIONS - _READERS.keys():
        raise TypeError(f"a job does not show {', '.join(sorted(unknown))}; expect {', '.join(sorted(_READERS))}")


def differences(job: JobState, expected: Mapping[str, Any]) -> list[str]:
    """Return in words what is not as expected; nothing if the job matches. Members that are not named do not matter."""
    payload = job.payload
    found: list[str] = []
    for name, wish in expected.items():
        value = _READERS[name](job) if name in _READERS else payload.get(name, _ABSENT)
        if name == "payload" and value is _ABSENT:
            value = payload  # the whole of it, for those who rather write it so
        if not _fits(name, wish, value):
            shown = "is not there" if value is _ABSENT else f"is {value!r}"
            found.append(f"{name} {shown}, not {wish!r}")
    return found


def line(job: JobState) -> str:
    """Return the job in one line, for the message of a failed assertion."""
    payload = short(job.request.payload.decode(), _LONGEST)
    return f"{job.type} {payload} queue={job.queue} priority={job.priority.word} state={job.state}"


def _fits(name: str, wish: Any, value: Any) -> bool:
    if name == "metadata" and isinstance(wish, Mapping):
        return wish.items() <= value.items()
    if name == "job_id":
        wish = str(wish)
    if isinstance(wish, str | int | float) and name in ("timeout", "delay"):
        wish = span(wish)
    if isinstance(wish, str) and name in ("run_at", "expires_at", "deadline"):
        wish = instant(wish)
    # The wish comes first, so that `mock.ANY`, `pytest.approx` and their like have the say.
    return bool(wish == value) or (name not in _READERS and _through_json(wish) == value)


def _through_json(value: Any) -> Any:
    """Return the value as a payload holds it: a tuple is a list there, a time is text."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, RecursionError):
        return _ABSENT
