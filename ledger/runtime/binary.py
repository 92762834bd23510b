"""Values as Postgres sends them in its binary form."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_MILLENNIUM = datetime(2000, 1, 1, tzinfo=UTC)


def number(value: bytes) -> int:
    """Return a smallint, int or bigint."""
    return int.from_bytes(value, "big", signed=True)


def instant(value: bytes) -> datetime:
    """Return a timestamptz, in UTC."""
    return _MILLENNIUM + timedelta(microseconds=int.from_bytes(value, "big", signed=True))
