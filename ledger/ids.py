"""Job ids: UUIDv7, minted, refused and derived.

The first 48 bits are the birth in milliseconds; the log is partitioned by them, so an id decides where a job's whole
life is stored. That is why a caller's own id must be a v7 of about now.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, SafeUUID

MAX_SKEW = timedelta(days=1)
"""How far a caller's id may be from the server's clock."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VARIANT = 0x8000_0000_0000_0000
_SAFETY = SafeUUID.unknown
_new, _set = object.__new__, object.__setattr__
_last: int = 0
_FEW = struct.Struct("=256Q")
_random: list[int] = []
"""Random numbers in stock: to ask the system for each is dear where threads wait for each other."""
os.register_at_fork(after_in_child=_random.clear)


def mint() -> UUID:
    """Make a new id; the ids that a thread makes one after another rise, also within a millisecond.

    The 12 bits after the version count fractions of the millisecond, so a batch sorts as it was made. Two threads may
    meet in these 60 bits; the 62 random ones keep them apart.
    """
    global _last  # noqa: PLW0603 — the one thing an id has to remember
    now = time.time_ns()
    ticks = (now // 1_000_000 << 12) | ((now % 1_000_000) * 4096 // 1_000_000)
    if ticks <= _last:
        ticks = _last + 1
    _last = ticks
    return _build(ticks, _number())


def _number() -> int:
    try:
        return _random.pop()  # atomic: no two threads get the same
    except IndexError:
        number, *more = _FEW.unpack(os.urandom(_FEW.size))
        _random.extend(more)
        return number


def born_at(job_id: UUID) -> datetime:
    """Return the birth that the id carries, in UTC, to the millisecond.

    >>> born_at(UUID("01980000-0000-7000-8000-000000000000")).isoformat()
    '2025-07-12T18:57:36.768000+00:00'
    """
    return _EPOCH + timedelta(milliseconds=job_id.int >> 80)


def smallest_at(at: datetime) -> UUID:
    """Return the lowest id a job born at this instant can have: the bound of a partition or of a time filter."""
    return UUID(int=_milliseconds(at) << 80)


def is_v7(job_id: UUID) -> bool:
    return (job_id.int >> 76) & 0xF == 7 and (job_id.int >> 62) & 0b11 == 0b10


def is_near(job_id: UUID, now: datetime) -> bool:
    """Say whether the id was made within MAX_SKEW of this instant; one further off may have no partition."""
    return abs((job_id.int >> 80) - now.timestamp() * 1000) <= MAX_SKEW.total_seconds() * 1000


def parse(text: str) -> UUID | None:
    """Return the id that the text spells in the canonical form, or None: such a text names nothing."""
    try:
        job_id = UUID(text)
    except ValueError:
        return None
    return job_id if str(job_id) == text.lower() else None


def derive(schedule_id: UUID, tick: datetime) -> UUID:
    """Return the id of the job of one cron tick: the same for every scheduler, so that the log's key decides who fires.

    The birth is the tick itself; the rest is a digest of both.
    """
    digest = hashlib.sha256(schedule_id.bytes + tick.astimezone(UTC).isoformat().encode()).digest()
    ticks = (_milliseconds(tick) << 12) | (int.from_bytes(digest[:2]) & 0xFFF)
    return _build(ticks, int.from_bytes(digest[2:10]))


def _milliseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _build(ticks: int, low: int) -> UUID:
    high = (ticks >> 12 << 16) | 0x7000 | (ticks & 0xFFF)
    # As the standard library does it for its own: the constructor's checks take most of an id's time.
    job_id = _new(UUID)
    _set(job_id, "int", (high << 64) | _VARIANT | (low & 0x3FFF_FFFF_FFFF_FFFF))
    _set(job_id, "is_safe", _SAFETY)
    return job_id
